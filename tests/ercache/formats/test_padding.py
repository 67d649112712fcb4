"""Sequences that were padded in front or at the end keep their values, and MulT's layout is known by its name."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.cache import CacheFile
from ercache.errors import UsageError
from ercache.formats.packing import ImportResult
from ercache.formats.padding import cut_padding
from ercache.manifest import Manifest
from tests.support.exchange_files import brought, mosei, values

NAMES = ("vid$_$1", "vid$_$0", "-x__y$_$0")
MODES = ("train", "valid", "test")
VALUES: dict[str, list[list[float]]] = {
    "vid_1": [[1, 2], [3, 4]], "vid_0": [[0, 0], [5, 6], [7, 0], [0, 0]], "-x__y_0": [[9, 9]],
}  # fmt: skip


def padded(rows: list[list[float]], side: str, longest: int = 5) -> np.ndarray:
    zeros = np.zeros((longest - len(rows), 2))
    return np.concatenate([zeros, rows] if side == "start" else [rows, zeros])


def mmsa(folder: Path, side: str) -> Path:
    modes = {
        mode: {"id": [name], "audio": padded(VALUES[u], side)[None], "audio_lengths": [len(VALUES[u])]}
        for mode, name, u in zip(MODES, NAMES, VALUES, strict=True)
    }
    (folder / "f.pkl").write_bytes(pickle.dumps(modes))
    return folder / "f.pkl"


def claims(packed: ImportResult) -> Any:
    with CacheFile(Path(packed.files[0])) as cache:
        return cache.provenance["imported"]["claims"]["padding"]


@pytest.mark.parametrize("side", ["start", "end"])
def test_padding_is_removed_on_either_side_and_the_side_is_reported(tmp_path: Path, side: str) -> None:
    packed = brought(mmsa(tmp_path, side), "mmsa", mosei(), tmp_path)
    assert values(packed, "f") == VALUES
    assert claims(packed) == {"audio": f"cut at the {side}"}
    assert any("--pad-location start" in note for note in packed.notes) == (side == "start")


@given(st.data())
def test_no_value_is_lost_on_whichever_side_the_padding_is(data: st.DataObject) -> None:
    side = data.draw(st.sampled_from(["start", "end"]))
    numbers = st.sampled_from([0.0, 1.0, -2.5])
    rows = data.draw(
        st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5), min_size=1, max_size=6)
    )
    given_ = [(str(n), padded([list(r) for r in row], side), len(row)) for n, row in enumerate(rows)]
    cut = cut_padding(given_)
    for (name, _, length), row in zip(given_, rows, strict=True):
        kept = cut.rows[name]
        assert len(kept) == length
        assert sorted(map(tuple, kept[kept.any(axis=1)].tolist())) == sorted(r for r in row if any(r))
    if any(any(row[0]) and any(row[-1]) and len(row) < 5 for row in rows):
        assert cut.side == side and [cut.rows[str(n)].tolist() for n in range(len(rows))] == [
            [list(r) for r in row] for row in rows
        ]


def test_padding_on_an_unknown_side_is_reported() -> None:
    middle = np.zeros((5, 1))
    middle[2] = 1
    cut = cut_padding([("a", middle, 3)])
    assert (
        cut.rows["a"].tolist() == [[0], [0], [1]] and "which are padding is unknown" in cut.notes("audio")[0]
    )
    full = np.ones((5, 1))
    cut = cut_padding([("a", full, 3)])
    assert "values beyond their length" in cut.notes("audio")[0] and len(cut.rows["a"]) == 3
    assert not cut_padding([("a", np.zeros((5, 1)), 3), ("b", full, 5)]).notes("audio")


def mult(folder: Path, identify: Any = None, kind: str = "U") -> Path:
    ids = (("vid", "0.1", "2.0"), ("vid", "2.0", "5.0"), ("-x__y", "1.0", "3.1"))
    modes = {}
    for mode, (video, start, end), rows in zip(MODES, ids, VALUES.values(), strict=True):
        array = padded(rows, "start")[None]
        modes[mode] = {"id": np.array([[video, start, end]], kind), "labels": np.zeros((1, 1, 1)), "text": array,
                       "audio": array, "vision": array}  # fmt: skip
        if identify is not None:
            identify(modes[mode])
    (folder / "mult.pkl").write_bytes(pickle.dumps(modes))
    return folder / "mult.pkl"


@pytest.mark.parametrize("form", ["mult", "mmsa"])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_the_layout_of_mult_is_matched_by_time_and_its_padding_kept(
    tmp_path: Path, form: str, kind: str
) -> None:
    packed = brought(mult(tmp_path, kind=kind), form, mosei(), tmp_path)
    assert packed.features == ["mult_text", "mult_audio", "mult_vision"]
    assert values(packed, "mult_audio") == {u: padded(rows, "start").tolist() for u, rows in VALUES.items()}
    assert any("MulT's layout" in note for note in packed.notes)
    assert any(
        "padding is kept" in note and "audio (at the start in 3 utterances" in note for note in packed.notes
    )
    assert claims(packed) == "kept"


def test_rows_of_other_times_belong_to_no_utterance(tmp_path: Path) -> None:
    def later(mode: dict[str, Any]) -> None:
        mode["id"] = np.array([["vid", "80.0", "81.0"]])

    with pytest.raises(UsageError, match="no row of the file belongs") as caught:
        brought(mult(tmp_path, later), "mult", mosei(), tmp_path)
    assert any("vid 80.0 to 81.0" in detail for detail in caught.value.details)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda mode: mode.pop("id"), "MulT's layout.*it has no `id`"),
        (lambda mode: mode.update(id=np.array([["vid", "a", "b"]])), "not seconds; MulT's layout"),
        (lambda mode: mode.update(audio=mode["audio"][:0]), "but there are 1 ids"),
    ],
)
def test_a_file_that_is_not_quite_the_layout_of_mult_is_refused(
    tmp_path: Path, change: Any, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        brought(mult(tmp_path, change), "mult", mosei(), tmp_path)


def test_the_error_about_missing_times_names_the_layout_of_mult(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no times") as caught:
        brought(mult(tmp_path), "mmsa", mosei(times=False), tmp_path)
    assert "MulT" in str(caught.value)


def test_two_rows_for_one_utterance_are_refused(tmp_path: Path) -> None:
    def twice(mode: dict[str, Any]) -> None:
        for key in mode:
            mode[key] = np.concatenate([mode[key], mode[key]])

    with pytest.raises(UsageError, match="two rows belong to utterance vid_1"):
        brought(mult(tmp_path, twice), "mult", mosei(), tmp_path)


CASES = Path(__file__).parents[4] / "shared" / "cases" / "front-padding"


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases (small inputs of the field)")
def test_a_usual_padded_file_keeps_its_values(tmp_path: Path) -> None:
    first, second, _ = mosei().utterances
    assert first.video is not None and second.video is not None
    places = replace(first.video, start=0.0, end=1.5), replace(second.video, start=1.5, end=3.0)
    rows = (replace(first, id="a_1", dialogue="a", text=None, video=places[0]),
            replace(second, id="a_2", dialogue="a", text=None, video=places[1]))  # fmt: skip
    manifest: Manifest = replace(mosei(), utterances=rows)
    front = values(brought(CASES / "front.pkl", "mmsa", manifest, tmp_path), "front")
    assert front == {"a_1": [[1, 2], [3, 4]], "a_2": [[10, 11], [12, 13], [14, 15], [16, 17]]}
    kept = values(brought(CASES / "mult.pkl", "mult", manifest, tmp_path), "mult_audio")
    assert kept["a_1"] == [[0, 0]] * 3 + [[1, 2], [3, 4]] and kept["a_2"][0] == [0, 0]
