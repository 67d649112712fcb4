"""OpenFace's tables: found beside the videos, read with their blanks, without rows that are no measurement."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ercache.cache import CacheFile
from ercache.errors import WeightsError
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams
from ercache.reasons import Missing, Reason
from extract.encoders import ENCODERS
from extract.encoders.base import Sample
from extract.encoders.visual import openface
from extract.encoders.visual.openface import COLUMNS
from extract.engine import Feature, extract_corpus

KIND = ENCODERS["visual/openface-au"]
HEAD = [
    "frame",
    " face_id",
    " timestamp",
    " confidence",
    " success",
    " gaze_0_x",
    *(f" {c}" for c in COLUMNS),
]


def write_table(path: Path, rows: list[tuple[float, int, float]], head: list[str] | None = None) -> None:
    """A table with time, success and one value for all units in each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(head or HEAD)]
    for n, (time, success, value) in enumerate(rows, 1):
        lines.append(", ".join(map(str, [n, 0, time, 0.9, success, 0.1, *[value] * len(COLUMNS)])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(folder: Path, ref: MediaRef | None) -> Any:
    return KIND(KIND.Params(folder=folder)).encode([Sample(video=ref)])[0]


def test_there_are_17_intensities_and_18_presences_in_order() -> None:
    assert (
        len(COLUMNS) == 35 and COLUMNS[:2] == ("AU01_r", "AU02_r") and COLUMNS[16:18] == ("AU45_r", "AU01_c")
    )
    assert "AU28_c" in COLUMNS and "AU28_r" not in COLUMNS


def test_rows_without_success_are_left_out_and_a_range_is_cut(tmp_path: Path) -> None:
    rows = [(0.0, 1, 9.0), (0.04, 1, 1.0), (0.08, 0, 5.0), (0.12, 1, 2.0), (0.16, 1, 9.0)]
    write_table(tmp_path / "train" / "a.csv", rows)
    result = read(tmp_path, MediaRef("train/a.mp4", start=0.04, end=0.16))
    assert result.frames == 2 and result.arrays["frames"].shape == (2, 35)
    assert result.arrays["frames"][:, 0].tolist() == [1, 2] and result.arrays["pooled"][0, 34] == 1.5
    np.testing.assert_allclose(result.arrays["times"][:, 0], [0.04, 0.12], rtol=1e-6)
    for spec in KIND.arrays(KIND.Params()):
        array = result.arrays[spec.name]
        assert array.shape[1:] == spec.shape and array.dtype == np.dtype(spec.dtype)


def test_what_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    write_table(tmp_path / "lost.csv", [(0.0, 0, 0.0), (0.04, 0, 0.0)])
    write_table(tmp_path / "other.csv", [(0.0, 1, 0.0)], head=["frame", "timestamp"])
    write_table(tmp_path / "broken.csv", [(0.0, 1, float("nan"))])
    (tmp_path / "cut.csv").write_text(",".join(HEAD) + "\n1, 0, 0.0, 0.9, 1, 0.1, 0.5", encoding="utf-8")
    (tmp_path / "blob.csv").write_bytes(b"\xff\xfe\x00\x01")
    for name, reason, word in (
        ("lost", Reason.NO_FACE, "2 rows"),
        ("other", Reason.UNREADABLE, "success"),
        ("broken", Reason.UNREADABLE, "AU01_r"),
        ("cut", Reason.UNREADABLE, "line 2"),
        ("blob", Reason.UNREADABLE, "blob.csv"),
        ("absent", Reason.ABSENT, "absent.csv"),
    ):
        result = read(tmp_path, MediaRef(f"{name}.mp4"))
        assert isinstance(result, Missing) and result.reason == reason and word in result.detail, name
    later = read(tmp_path, MediaRef("lost.mp4", start=5.0, end=6.0))
    assert later.reason == Reason.NO_VIDEO and read(tmp_path, None).reason == Reason.NO_VIDEO


def test_a_disk_that_fails_is_no_verdict_on_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "a.csv", [(0.0, 1, 1.0)])

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(openface, "read_table", fail)
    result = read(tmp_path, MediaRef("a.mp4"))
    assert isinstance(result, Missing) and result.reason is Reason.FAULT
    assert result.reason.status == "unavailable" and result.detail == "a.csv: Input/output error"


def test_without_a_folder_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no folder") as caught:
        KIND(KIND.Params())
    assert "FeatureExtraction" in (caught.value.hint or "")
    with pytest.raises(ValidationError, match="is not a folder"):
        KIND.Params(folder=tmp_path / "nowhere")


def test_changed_tables_are_another_feature_and_the_place_of_the_folder_is_not(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_table(tmp_path / folder / "a.csv", [(0.0, 1, 1.0)])
    first, second = (KIND.Params(folder=tmp_path / f).model_dump(mode="json") for f in ("one", "two"))
    assert first == second and set(first) == {"digest"}
    write_table(tmp_path / "two" / "a.csv", [(0.0, 1, 2.0)])
    assert KIND.Params(folder=tmp_path / "two").model_dump(mode="json") != first


def test_the_engine_names_the_video_and_never_opens_it(tmp_path: Path) -> None:
    write_table(tmp_path / "tables" / "a" / "one.csv", [(0.0, 1, 1.0)])
    videos = (MediaRef("a/one.mp4", sha256="1" * 64), MediaRef("b/two.mp4", sha256="2" * 64))
    rows = tuple(
        Utterance(f"u{n}", "d", n, "Ann", "", video, None, {"emotion7": "joy"}, "train")
        for n, video in enumerate(videos)
    )
    manifest = Manifest("toy", "1", {}, {"emotion7": ("joy",)}, rows)
    feature = Feature("of", KIND, KIND.Params(folder=tmp_path / "tables"), None, None)
    result = extract_corpus(
        manifest,
        (feature,),
        EngineParams(lanes=1),
        store=tmp_path / "store",
        out=tmp_path / "caches",
        root=tmp_path,
        fail_over=100,
    )
    with CacheFile(result.files[0]) as cache:
        assert [(e.status, e.reason) for e in cache.entries] == [("ok", ""), ("missing", "absent")]
        assert cache["u0"]["pooled"].shape == (1, 35)
