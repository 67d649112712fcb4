"""The other formats of features (MMSA, CSD, MERBench, lhotse) become caches of the right utterances."""

import gzip
import io
import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ercache.cache import CacheFile
from ercache.errors import UsageError
from ercache.formats import formats
from ercache.formats.formats import FORMATS
from ercache.manifest import Manifest, Utterance
from tests.support.exchange_files import (
    brought,
    cache_of,
    csd,
    meld,
    meld_tuple,
    mosei,
    values,
    vectors,
)


def test_mmsa_is_cut_to_its_lengths_and_matched_by_video_and_clip(tmp_path: Path) -> None:
    manifest, path = mosei(), tmp_path / "unaligned_50.pkl"
    bert = np.zeros((1, 3, 4), "f4")
    bert[0, 1, :3] = 1

    def mode(name: str, length: int, text: str) -> dict[str, Any]:
        return {
            "raw_text": np.array([text], dtype=object), "id": np.array([name]), "text": np.ones((1, 4, 2), "f4"),
            "text_bert": bert, "audio": np.arange(15, dtype="f8").reshape(1, 5, 3), "audio_lengths": [length],
            "vision": np.full((1, 2, 1), 7, "f4"), "annotations": ["Negative"],
            "classification_labels": np.array([0.0]), "regression_labels": np.array([-1.0], "f4"),
        }  # fmt: skip

    content = {"train": mode("vid$_$1", 2, "WORDS vid_1"), "valid": mode("vid$_$0", 0, "words vid 0"),
               "test": mode("-x__y$_$0", 5, "words -x__y_0")}  # fmt: skip
    path.write_bytes(pickle.dumps(content, 4))
    packed = brought(path, "mmsa", manifest, tmp_path, name="m")
    assert packed.features == ["m_text", "m_audio", "m_vision"]
    audio = values(packed, "m_audio")
    assert audio["vid_1"] == [[0, 1, 2], [3, 4, 5]] and len(audio["-x__y_0"]) == 5
    assert values(packed, "m_text")["vid_0"] == [[1, 1]] * 3
    assert values(packed, "m_vision")["vid_0"] == [[7], [7]]
    assert "vid_0" not in audio and any("no utterance of the part dev" in note for note in packed.notes)
    assert any("padding is kept" in note and "vision" in note for note in packed.notes)


def test_csd_rows_belong_to_every_utterance_that_they_overlap(tmp_path: Path) -> None:
    rows = np.arange(10, dtype="f4").reshape(5, 2)
    path = csd(tmp_path / "CMU_MOSEI_COVAREP.csd", "COVAREP", {
        "vid": (rows, [(0, 1), (1, 2.5), (2.5, 5), (5, 6), (4.9, 5)]), "-x__y": (rows[:1], [(8, 9)])})  # fmt: skip
    packed = brought(path, "csd", mosei(), tmp_path)
    found = values(packed, "covarep")
    assert found["vid_1"] == rows[:2].tolist() and found["vid_0"] == rows[[1, 2, 4]].tolist()
    assert packed.utterances == 2 and any("-x__y" in note for note in packed.notes)
    assert "/audio/" in packed.files[0]


def test_csd_segments_are_matched_by_time_not_by_number(tmp_path: Path) -> None:
    path = csd(tmp_path / "f.csd", "glove_vectors", {
        "vid[0]": (np.full((2, 1), 9, "f4"), [(2.0, 3.0), (3.0, 5.0)]), "vid[1]": (np.ones((1, 1), "f4"), [(0.0, 2.0)]),
        "vid[2]": (np.ones((1, 1), "f4"), [(50.0, 52.0)])})  # fmt: skip
    packed = brought(path, "csd", mosei(), tmp_path)
    assert values(packed, "glove_vectors") == {"vid_0": [[9], [9]], "vid_1": [[1]]}
    assert "/text/" in packed.files[0] and any("vid[2]" in note for note in packed.notes)


def test_csd_uses_the_times_of_the_label_file_if_the_manifest_has_none(tmp_path: Path) -> None:
    rows = tuple(Utterance(f"vid[{k}]", "vid", k, "vid", None, None, None, {}, "all") for k in (0, 1))
    manifest = Manifest("mosei", "1", {}, {}, rows)
    path = csd(tmp_path / "f.csd", "OpenFace_2", {"vid": (np.array([[1], [2]], "f4"), [(0, 1), (1, 2)])})
    with pytest.raises(UsageError, match="has no times") as caught:
        brought(path, "csd", manifest, tmp_path)
    assert "CMU_MOSEI_Labels.csd" in caught.value.hint
    csd(tmp_path / "CMU_MOSEI_Labels.csd", "All Labels", {"vid": (np.zeros((2, 7)), [(1, 2), (0, 1)])})
    assert values(brought(path, "csd", manifest, tmp_path), "openface_2") == {
        "vid[0]": [[2]],
        "vid[1]": [[1]],
    }


def test_csd_with_words_or_links_to_other_files_is_refused(tmp_path: Path) -> None:
    words = csd(tmp_path / "w.csd", "words", {"vid": (np.array([[b"sp"]]), [(0, 1)])})
    with pytest.raises(UsageError, match="texts, not feature vectors"):
        brought(words, "csd", mosei(), tmp_path)
    linked = csd(tmp_path / "l.csd", "COVAREP", {"vid": (np.ones((1, 1)), [(0, 1)])})
    with h5py.File(linked, "a") as file:
        del file["COVAREP/data/vid/features"]
        file["COVAREP/data/vid/features"] = h5py.ExternalLink("w.csd", "words/data/vid/intervals")
    with pytest.raises(UsageError, match="has no table"):
        brought(linked, "csd", mosei(), tmp_path)


def test_a_damaged_csd_is_read_or_refused_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "pack", lambda *content: None)  # 450 times the same caches
    rows = np.arange(10, dtype="f4").reshape(5, 2)
    path = csd(tmp_path / "COVAREP.csd", "COVAREP", {"vid": (rows, [(n, n + 1) for n in range(5)])})
    whole, refused = path.read_bytes(), 0
    for at in range(0, len(whole), 16):
        path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        try:
            brought(path, "csd", mosei(), tmp_path)
        except UsageError as error:
            refused += 1
            assert str(path) in str(error) and error.hint
    assert 50 < refused < len(whole) // 16, "some damage is in places that nothing reads"


def test_merbench_folders_of_vectors_and_of_frames(tmp_path: Path) -> None:
    manifest = meld()
    utt, fra = tmp_path / "chinese-hubert-large-UTT", tmp_path / "clip-vit-large-patch14-FRA"
    for folder in (utt, fra):
        folder.mkdir()
    for u in manifest.utterances[:5]:
        np.save(utt / f"{u.id.replace('dev', 'val')}.npy", vectors(manifest)[u.id][None])
        (fra / u.id).mkdir()
        for n in range(3):
            np.save(fra / u.id / f"{n:03}.npy", np.full(2, n, "f2"))
    np.save(utt / "test_dia0_utt0.npy", np.empty(0))
    np.save(utt / "train_dia9_utt9.npy", np.ones(2))
    packed = brought(utt, "merbench", manifest, tmp_path)
    assert packed.features == ["chinese-hubert-large-utt"] and "/audio/" in packed.files[0]
    assert values(packed, "chinese-hubert-large-utt") == {
        u.id: [vectors(manifest)[u.id].tolist()] for u in manifest.utterances[:5]
    }
    assert any("train_dia9_utt9" in n for n in packed.notes) and any(
        "test_dia0_utt0" in n for n in packed.notes
    )
    frames = brought(fra, "merbench", manifest, tmp_path, name="clip")
    assert values(frames, "clip")["dev_dia0_utt0"] == [[0, 0], [1, 1], [2, 2]]
    with CacheFile(Path(frames.files[0])) as cache:
        assert (cache.specs["features"].kind, cache.specs["features"].dtype) == ("sequence", "float16")


def test_an_npy_of_objects_is_refused_and_runs_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trace",))

    folder = tmp_path / "bert-UTT"
    folder.mkdir()
    np.save(folder / "train_dia0_utt0.npy", np.array([Hostile()], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="refused, because it is an array of object"):
        brought(folder, "merbench", meld(), tmp_path)
    (folder / "train_dia0_utt0.npy").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UsageError, match=r"not readable as \.npy"):
        brought(folder, "merbench", meld(), tmp_path)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
    )
    (folder / "train_dia0_utt0.npy").write_bytes(huge.getvalue())
    with pytest.raises(UsageError, match="more than the file has"):
        brought(folder, "merbench", meld(), tmp_path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("store", ["numpy_files", "numpy_hdf5"])
def test_lhotse_cuts_and_features_are_read_from_both_plain_stores(tmp_path: Path, store: str) -> None:
    manifest, matrix = meld(), np.arange(20, dtype="f4").reshape(10, 2)
    (tmp_path / "feats" / "abc").mkdir(parents=True)
    np.save(tmp_path / "feats/abc/abcdef.npy", matrix)
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        file["abc/abcdef.npy"] = matrix
    place = "/gone/feats" if store == "numpy_files" else "feats.h5"
    features = {"type": "kaldi-fbank", "num_frames": 10, "num_features": 2, "frame_shift": 0.1, "sampling_rate": 16000,
                "start": 0, "duration": 1.0, "storage_type": store, "storage_path": place,
                "storage_key": "abc/abcdef.npy", "recording_id": "dev_dia0_utt0", "channels": 0}  # fmt: skip
    cut = {"id": "c", "start": 0.3, "duration": 0.4, "channel": 0, "type": "MonoCut", "features": features,
           "supervisions": [{"id": "test_dia0_utt0", "recording_id": "r", "start": 0, "duration": 0.4}]}  # fmt: skip
    lines = [
        features,
        cut,
        {**cut, "supervisions": [], "id": "elsewhere", "features": {**features, "recording_id": "r"}},
    ]
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    packed = brought(path, "lhotse", manifest, tmp_path)
    assert values(packed, "cuts")["dev_dia0_utt0"] == matrix.tolist()
    assert values(packed, "cuts")["test_dia0_utt0"] == matrix[3:7].tolist()
    assert any("elsewhere" in note for note in packed.notes)
    path.write_bytes(gzip.compress(json.dumps({**features, "storage_type": "lilcom_chunky"}).encode()))
    with pytest.raises(UsageError, match="lilcom_chunky") as caught:
        brought(path, "lhotse", manifest, tmp_path)
    assert "copy_feats" in caught.value.hint


def test_imports_overwrite_imported_caches_but_no_extracted_ones(tmp_path: Path) -> None:
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(meld_tuple(meld(), "mmgcn")))
    first = brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    before = [Path(f).read_bytes() for f in first.files]
    assert [
        Path(f).read_bytes() for f in brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path).files
    ] == before
    cache_of(tmp_path / "caches/meld/audio", meld(), "dev", "f_audio")
    with pytest.raises(UsageError, match="caches that ercache extracted itself") as caught:
        brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    assert "--name" in caught.value.hint and Path(first.files[0]).read_bytes() == before[0]


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04N.",
        b"{}",
        b"[1, 2]\n",
        pickle.dumps(({}, {}, {}, {}, {}, {}, {}, 1, 2)),
        pickle.dumps({"train": {"id": 5}}),
        pickle.dumps([1] * 10),
        b"\0" * 600,
    ],
)
def test_any_other_file_gives_a_clear_error(tmp_path: Path, form: str, content: bytes) -> None:
    path = tmp_path / "f.bin"
    if form == "merbench":
        (tmp_path / "bert").mkdir()
        path = tmp_path / "bert"
        (path / "train_dia0_utt0.npy").write_bytes(content)
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        brought(path, form, meld(), tmp_path)
    assert caught.value.exit_code == 2 and caught.value.hint and not (tmp_path / "caches").exists()
