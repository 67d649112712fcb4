"""Groups of rows: each row of each feature once, in order, cut by the feature's own inputs and by nothing else."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from extract.engine.grouping import RowGroups

Sizes = dict[int, int]
Wanted = dict[str, Sizes]  # feature -> row -> bytes of its inputs

WANTED = st.dictionaries(
    st.sampled_from(["mfcc", "face_hog", "wavlm"]),
    st.dictionaries(st.integers(0, 15), st.integers(0, 40), max_size=16),
    max_size=3,
)
MOST = st.integers(1, 60)


def grouped(
    wanted: Wanted, most: float, order: list[int], whole: bool = True
) -> dict[str, list[tuple[int, ...]]]:
    """The groups of each feature, when rows arrive in some order; `whole` rows arrive for all features at once."""
    groups = RowGroups({name: sorted(sizes) for name, sizes in wanted.items()}, most)
    names = [name for name, sizes in wanted.items() if sizes]
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for part in [names] if whole else [[name] for name in names]:
        for row in order:
            for name, rows in groups.add(row, {name: wanted[name].get(row, 0) for name in part}):
                found[name].append(tuple(rows))
    assert not any(groups.is_needed(row, names) for row in range(16)), (
        "nothing waits when everything has come"
    )
    return found


@given(WANTED, MOST, st.permutations(range(16)))
def test_every_row_of_every_feature_stands_in_one_group_and_rows_rise(
    wanted: Wanted, most: int, order: list[int]
) -> None:
    found = grouped(wanted, most, order)
    for name, groups in found.items():
        rows = [row for group in groups for row in group]
        assert rows == sorted(wanted[name]) and all(groups)
        assert all(before < after for before, after in pairwise(rows))


@given(WANTED, MOST, st.permutations(range(16)), st.booleans())
def test_groups_depend_on_the_sizes_of_their_own_feature_alone(
    wanted: Wanted, most: int, order: list[int], whole: bool
) -> None:
    found = grouped(wanted, most, order, whole)
    for name in found:
        assert found[name] == grouped({name: wanted[name]}, most, list(range(16)))[name]


@given(WANTED, MOST)
def test_a_group_is_closed_as_soon_as_it_holds_as_much_as_is_allowed(wanted: Wanted, most: int) -> None:
    for name, groups in grouped(wanted, most, list(range(16))).items():
        for group in groups[:-1]:
            held = [wanted[name][row] for row in group]
            assert sum(held) >= most > sum(held[:-1])


def test_rows_without_inputs_are_one_group() -> None:
    assert grouped({"minilm": dict.fromkeys(range(16), 0)}, 1e-6, list(range(16))) == {
        "minilm": [tuple(range(16))]
    }


def test_a_row_is_needed_until_the_last_of_its_features_has_it() -> None:
    groups = RowGroups({"a": [0, 1], "b": [0]}, 1)
    assert groups.is_needed(0, ["a", "b"]) and groups.is_needed(1, ["a"]) and not groups.is_needed(1, ["b"])
    assert list(groups.add(0, {"a": 1})) == [("a", [0])]
    assert not groups.is_needed(0, ["a"]) and groups.is_needed(0, ["b"])
    assert list(groups.add(0, {"b": 9})) == [("b", [0])] and not groups.is_needed(0, ["a", "b"])
