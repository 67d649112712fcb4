"""Splits: nothing is torn apart, nothing is lost, and the same groups give the same lists on every machine."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.common.splits import (
    Split,
    actor_disjoint,
    actor_folds,
    draw_groups,
    last_groups,
    leave_session_out,
    leave_speaker_out,
    session_held_out,
    split_by_groups,
    usable_splits,
)

# Three sessions of two dialogues; an utterance is `<dialogue>_<n>`.
SESSIONS = {f"S{s}d{d}": f"S{s}" for s in (1, 2, 3) for d in (1, 2)}
DIALOGUES = {f"{dialogue}_{n}": dialogue for dialogue in SESSIONS for n in range(2)}


def groups_of(split: Split, groups: Mapping[str, str]) -> dict[str, list[str]]:
    return {subset: sorted({groups[i] for i in ids}) for subset, ids in split.items()}


def test_ids_keep_the_order_of_the_manifest() -> None:
    split = split_by_groups({"b": "y", "a": "x", "c": "z", "d": "x"}, dev=["y"], test=["z"])
    assert split == {"train": ("a", "d"), "dev": ("b",), "test": ("c",)}


def test_a_group_for_both_dev_and_test_is_refused() -> None:
    with pytest.raises(ValueError, match="in dev and in test: x"):
        split_by_groups({"a": "x"}, dev=["x"], test=["x", "y"])


@given(
    actors=st.dictionaries(st.text(max_size=4), st.sampled_from([f"{n:02d}" for n in range(1, 25)])),
    count=st.integers(3, 6),
    seed=st.integers(0, 3),
)
def test_every_split_holds_every_id_once_and_tears_no_group_apart(
    actors: dict[str, str], count: int, seed: int
) -> None:
    sessions = {actor: str(int(actor) % 5) for actor in actors.values()}
    made = {
        **actor_folds(actors, count),
        **leave_session_out(actors, sessions, seed),
        **session_held_out(actors, sessions, "4", "held", ["01", "02"], seed),
        **({"actors": actor_disjoint(actors)} if len(sessions) >= 3 else {}),
    }
    for split in made.values():
        assert sorted(i for ids in split.values() for i in ids) == sorted(actors)
        groups = [{actors[i] for i in ids} for ids in split.values()]
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_three_rules_choose_the_validation_dialogues_of_a_held_out_session() -> None:
    made = session_held_out(DIALOGUES, SESSIONS, "S3", "session3", fixed=["S1d2", "S3d1", "gone"], seed=7)
    assert list(made) == ["session3", "session3_fixed", "session3_seed7"]
    found = {name: groups_of(split, DIALOGUES) for name, split in made.items()}
    assert all(split["test"] == ["S3d1", "S3d2"] for split in found.values())
    assert found["session3"]["dev"] == ["S2d2"], "a sixth of four, at least one, last as strings"
    assert found["session3_fixed"]["dev"] == ["S1d2"]
    assert len(found["session3_seed7"]["dev"]) == 1 and found["session3_seed7"]["dev"][0][:2] != "S3"


def test_a_hundred_and_twenty_dialogues_give_the_sorted_and_the_drawn_numbers() -> None:
    names = [f"d{n}" for n in range(120)]
    assert list(last_groups(names, 1 / 6)) == sorted(names)[100:]
    assert len(draw_groups(names, 1 / 10, 0)) == 12


def test_what_is_drawn_depends_on_seed_and_names_alone() -> None:
    names = [f"d{n}" for n in range(40)]
    assert draw_groups(names, 0.1, 0) == draw_groups(names[::-1], 0.1, 0) == ("d25", "d30", "d37", "d5")
    assert draw_groups(names, 0.1, 1) != draw_groups(names, 0.1, 0)


def test_each_session_is_tested_once_and_never_validates_itself() -> None:
    folds = leave_session_out(DIALOGUES, SESSIONS, seed=0)
    assert list(folds) == ["loso/S1", "loso/S2", "loso/S3"]
    for name, split in folds.items():
        tested = {SESSIONS[d] for d in groups_of(split, DIALOGUES)["test"]}
        assert tested == {name[-2:]}
        assert not tested & {SESSIONS[d] for d in groups_of(split, DIALOGUES)["dev"]}
    assert sorted(i for split in folds.values() for i in split["test"]) == sorted(DIALOGUES)


def test_the_partner_of_a_tested_speaker_validates_and_does_not_train() -> None:
    speakers = {"1": "1F", "2": "1M", "3": "2F", "4": "2M"}
    folds = leave_speaker_out(speakers, {"1F": "1M", "1M": "1F", "2F": "2M", "2M": "2F"})
    assert list(folds) == ["speaker/1F", "speaker/1M", "speaker/2F", "speaker/2M"]
    assert folds["speaker/1M"] == {"train": ("3", "4"), "dev": ("1",), "test": ("2",)}


def test_actors_are_cut_in_their_order() -> None:
    actors = {f"clip{n:02d}": f"{n:02d}" for n in range(1, 21)}
    found = groups_of(actor_disjoint(actors), actors)
    assert found["test"] == ["18", "19", "20"] and found["dev"] == ["15", "16", "17"]
    assert actor_disjoint({"a": "1", "b": "2"}) == {}, "two actors cannot fill three subsets"


def test_actor_folds_test_every_actor_once() -> None:
    actors = {f"{n}": f"{n:02d}" for n in range(1, 25)}
    folds = actor_folds(actors)
    assert list(folds) == ["actors/1", "actors/2", "actors/3", "actors/4", "actors/5"]
    tested = [a for split in folds.values() for a in groups_of(split, actors)["test"]]
    assert tested == sorted(actors.values())
    assert groups_of(folds["actors/1"], actors)["dev"] == groups_of(folds["actors/2"], actors)["test"]
    with pytest.raises(ValueError, match="2 folds"):
        actor_folds(actors, 2)


def test_a_split_with_an_empty_subset_is_not_usable() -> None:
    whole: Split = {"train": ("a",), "dev": ("b",), "test": ("c",)}
    assert usable_splits({"a": whole, "b": {**whole, "dev": ()}}) == {"a": whole}
