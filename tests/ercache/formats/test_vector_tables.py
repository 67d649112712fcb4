"""Plain tables of ids and vectors become caches, and ids that nobody has are told with those that are expected."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ercache.errors import UsageError
from ercache.manifest import Manifest
from tests.support.exchange_files import brought, meld, meld_numbers, meld_tuple, mosei, values, vectors

Write = Callable[[Path, dict[str, np.ndarray]], Path]


def npz_beside(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    np.savez(
        folder / "t.npz",
        ids=np.array(list(rows)),
        features=np.stack(list(rows.values())),
        labels=np.arange(len(rows)),
    )
    return folder / "t.npz"


def npz_by_id(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(folder / "t.npz", **rows)  # type: ignore[arg-type]
    return folder / "t.npz"


def pickled(folder: Path, content: Any) -> Path:
    (folder / "t.pkl").write_bytes(pickle.dumps(content))
    return folder / "t.pkl"


def pickle_beside(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    return pickled(folder, {"ids": list(rows), "features": np.stack(list(rows.values()))})


def csv(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    frame = pd.DataFrame({"utterance_id": list(rows), "label": "joy"})
    frame = pd.concat([frame, pd.DataFrame(np.stack(list(rows.values()))).add_prefix("f")], axis=1)
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def parquet_lists(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    pd.DataFrame({"id": list(rows), "vector": list(rows.values())}).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def parquet_columns(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    frame = pd.DataFrame(np.stack(list(rows.values()))).add_prefix("f")
    frame.assign(ID=list(rows)).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def folder_of_npy(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    (folder / "t").mkdir()
    for name, row in rows.items():
        np.save(folder / "t" / f"{name}.npy", row)
    return folder / "t"


WRITERS: dict[str, Write] = {
    "npz of ids and features": npz_beside, "npz by id": npz_by_id, "pickle by id": pickled,
    "pickle of ids and features": pickle_beside, "csv": csv, "parquet of lists": parquet_lists,
    "parquet of columns": parquet_columns, "folder of npy": folder_of_npy,
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_becomes_a_cache_and_absent_utterances_are_missing(tmp_path: Path, kind: str) -> None:
    rows = {u: row.astype("f8") for u, row in list(vectors(meld()).items())[:7]}
    path = WRITERS[kind](tmp_path, rows | {"nobody": np.zeros(2)})
    packed = brought(path, "table", meld(), tmp_path, modality="audio")
    assert packed.features == ["t"] and "/audio/" in packed.files[0]
    found = values(packed, "t")
    assert found == {
        **{u: [row.tolist()] for u, row in rows.items()},
        "test_dia1_utt1": ["missing", "absent"],
    }
    assert any("nobody" in note for note in packed.notes)


def test_sequences_and_several_features_are_read_too(tmp_path: Path) -> None:
    rows = {u.id: {"audio": np.full((n + 1, 3), n)} for n, u in enumerate(meld().utterances)}
    path = pickled(tmp_path, {"id": list(rows), "audio": [row["audio"] for row in rows.values()],
                              "text": np.ones((len(rows), 4), "f4"), "label": [0] * len(rows)})  # fmt: skip
    packed = brought(path, "table", meld(), tmp_path)
    assert packed.features == ["t_audio", "t_text"] and any("label" in note for note in packed.notes)
    assert len(values(packed, "t_audio")["test_dia1_utt1"]) == 8


@pytest.mark.parametrize("kind", WRITERS)
def test_a_plain_table_may_be_called_by_the_type_of_its_file(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path, vectors(meld()))
    form = next(name for name in ("npz", "pickle", "csv", "parquet", "npy") if name in kind)
    packed = brought(path, form, meld(), tmp_path, modality="audio")
    assert packed.utterances == 8 and packed.features == ["t"]


def pairs(part: str = "") -> dict[str, np.ndarray]:
    """As MELD's own pickles name them: dialogue and utterance of a part."""
    of = {u.id: vectors(meld())[u.id] for u in meld().utterances if u.part == part or not part}
    return {name.split("_dia")[1].replace("utt", ""): row for name, row in of.items()}


@pytest.mark.parametrize("as_list", [True, False])
def test_names_in_a_dictionary_for_each_part_belong_to_that_part(tmp_path: Path, as_list: bool) -> None:
    parts = {name: pairs(part) for name, part in (("train", "train"), ("val", "dev"), ("test", "test"))}
    packed = brought(
        pickled(tmp_path, list(parts.values()) if as_list else parts),
        "table",
        meld(),
        tmp_path,
        modality="text",
    )
    assert values(packed, "t") == {u: [row.tolist()] for u, row in vectors(meld()).items()}
    assert any("'0_0' were read as dialogue and utterance of train" in note for note in packed.notes)


def test_names_of_one_part_are_recognised_by_names_that_only_this_part_has(tmp_path: Path) -> None:
    packed = brought(pickled(tmp_path, pairs("test")), "table", meld(), tmp_path, modality="text")
    assert packed.utterances == 3 and all(name.endswith("test.h5") for name in packed.files)
    through = {f"{d}_{u}": vectors(meld())[x.id] for x in meld().utterances for d, u in [meld_numbers(x)]}
    packed = brought(pickled(tmp_path, through), "table", meld(), tmp_path, modality="text", name="all")
    assert values(packed, "all") == {u: [row.tolist()] for u, row in vectors(meld()).items()}
    assert any("numbered through all parts" in note for note in packed.notes)


def test_ambiguous_names_are_refused_with_an_example_of_good_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'0_0' fit several parts of meld") as caught:
        brought(pickled(tmp_path, {"0_0": np.ones(2)}), "table", meld(), tmp_path, modality="text")
    assert "train_dia0_utt0" in caught.value.hint and "of dev: 1 of 1 are utterances" in caught.value.details
    with pytest.raises(UsageError, match="'90_7' fit no part"):
        brought(pickled(tmp_path, {"90_7": np.ones(2)}), "table", meld(), tmp_path, modality="text")


def test_a_dialogue_pickle_with_such_names_is_read_if_its_dialogues_agree(tmp_path: Path) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    content[0] = {d: [f"{d}_{name}" for name in names] for d, names in content[0].items()}
    assert brought(pickled(tmp_path, tuple(content)), "mmgcn", meld(), tmp_path).utterances == 8
    content[0] = {d: [f"{d + 90}_{name.split('_')[1]}" for name in names] for d, names in content[0].items()}
    with pytest.raises(UsageError, match="no row of the file belongs to an utterance of meld") as caught:
        brought(pickled(tmp_path, tuple(content)), "mmgcn", meld(), tmp_path, name="other")
    assert "'train_dia0_utt0'" in caught.value.hint and "0/90_0" in str(caught.value)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda f: pickled(f, [1, 2]), "a list"),
        (lambda f: pickled(f, {"train_dia0_utt0": "text"}), "values of type str cannot be features"),
        (
            lambda f: pickled(f, {"ids": ["train_dia0_utt0"], "labels": [1]}),
            "no array with one vector per id",
        ),
        (lambda f: pickled(f, {"ids": 3, "features": [[1.0]]}), "not a list of names"),
        (
            lambda f: pickled(f, {"ids": ["train_dia0_utt0"] * 2, "features": [[1.0], [2.0]]}),
            "two rows belong to",
        ),
        (lambda f: npz_by_id(f, {"names_of_all": np.array(["a"]), "x": np.ones((1, 2))}), "no array of ids"),
        (lambda f: _text(f / "t.csv", "a,b\n1,2\n"), "no column of utterance ids"),
        (lambda f: _text(f / "t.csv", "id,b\ntrain_dia0_utt0\n"), "not readable as csv"),
        (lambda f: _text(f / "t.csv", "id,b\ntrain_dia0_utt0,c\n"), "no column of numbers"),
        (lambda f: _text(f / "t.csv", ""), "no column of utterance ids|not readable"),
        (lambda f: _text(f / "t.parquet", "id"), "not readable as Parquet"),
        (lambda f: _text(f / "t.txt", "id"), "this type of table is not supported: .txt"),
    ],
)
def test_files_that_are_no_tables_are_refused(
    tmp_path: Path, write: Callable[[Path], Path], told: str
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        brought(write(tmp_path), "table", meld(), tmp_path, modality="text")
    assert caught.value.hint and not (tmp_path / "caches").exists()


def _text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_ids_of_other_corpora_are_found_and_ids_in_csv_stay_texts(tmp_path: Path) -> None:
    path = _text(tmp_path / "t.csv", "id,x,y\nvid_1,1,0.5\nvid_0,2,\n007,3,1\n")
    packed = brought(path, "table", mosei(), tmp_path, modality="audio")
    assert values(packed, "t")["vid_1"] == [[1, 0.5]] and any("007" in note for note in packed.notes)
    assert any("NaN" in note and "vid_0" in note for note in packed.notes)


def test_names_are_never_ambiguous_with_one_part(tmp_path: Path) -> None:
    only = tuple(u for u in meld().utterances if u.part == "test")
    manifest = Manifest("meld", "1", {}, meld().label_sets, only)
    assert (
        brought(pickled(tmp_path, pairs("test")), "table", manifest, tmp_path, modality="text").utterances
        == 3
    )
