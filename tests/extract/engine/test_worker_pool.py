"""Lanes: what kills or hangs one costs what caused it, and a lost disk is not the data's fault."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ercache.cache import CacheFile
from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams, FacePolicy, Limits
from ercache.reasons import Missing, Reason
from extract.engine import extract_corpus, worker_pool
from extract.engine.extraction import Extraction
from extract.engine.job import Activity, WorkerJob, WorkerSetup
from extract.engine.worker import Worker
from extract.engine.worker_pool import degraded
from extract.media import Span
from extract.media.scanned import ReadRequest, read_scanned
from tests.support.toy_letters import Letters, Loud, calls, letters, read_toy, refuse

ENGINE = EngineParams(text_shard=3, shard=2, batch=3, lanes=2, limits=Limits(seconds=1))
FAULT = Missing(Reason.CRASH, "died")


def corpus(root: Path, *names: str) -> Manifest:
    """Utterances whose text is a name, and a file of that name."""
    rows = []
    for n, name in enumerate(names):
        (root / name).write_text(name)
        sound = MediaRef(name, sha256=digest_of_file(root / name))
        rows.append(Utterance(f"u{n}", "d", n, "Ann", name, None, sound, {}, "train"))
    return Manifest("toy", "1", {}, {}, tuple(rows))


def extract(
    folder: Path, manifest: Manifest, kind: type[Letters] = Letters, engine: EngineParams = ENGINE
) -> Extraction:
    feature = letters(folder, kind=kind)
    store, out = folder / "store", folder / "caches"
    return extract_corpus(
        manifest, [feature], engine, store=store, out=out, root=folder, fail_over=90, read=read_toy
    )


def reasons(result: Extraction) -> dict[str, str]:
    return {f.utterance: f.reason for f in result.failed}


def test_an_input_that_kills_its_lane_is_a_crash_and_the_run_goes_on(tmp_path: Path) -> None:
    refuse(tmp_path, b="die")
    result = extract(tmp_path, corpus(tmp_path, "a", "b", "c", "d", "e"))
    assert reasons(result) == {"u1": "crash"}
    assert result.failed[0].status == "unavailable" and result.run_singly == {"letters"}


def test_a_lane_that_dies_once_changes_no_byte(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, "a", "b", "c", "d", "e")
    whole = extract(tmp_path, manifest).files[0].read_bytes()
    for segment in (tmp_path / "store").iterdir():
        segment.unlink()
    (tmp_path / "caches/toy/text/letters.train.h5").unlink()
    calls(tmp_path)
    refuse(tmp_path, b="die once")
    result = extract(tmp_path, manifest)
    assert (reasons(result), result.run_singly) == ({}, set())
    assert calls(tmp_path) == [["a", "b", "c"], ["a", "b", "c"], ["d", "e"]]
    assert result.files[0].read_bytes() == whole


def test_an_input_that_hangs_is_a_timeout_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "GRACE_SECONDS", 2.0)
    refuse(tmp_path, bb="hang")
    result = extract(tmp_path, corpus(tmp_path, "a", "bb", "ccc"))
    assert reasons(result) == {"u1": "timeout"}


def test_a_file_that_kills_its_reader_is_a_crash_and_the_run_goes_on(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, "a", "die", "bad", "c", "die_once", "e", "killed")
    result = extract(tmp_path, manifest, Loud)
    assert reasons(result) == {"u1": "crash", "u2": "unreadable", "u6": "crash"}
    words = {f.utterance: f.detail for f in result.failed}
    assert "exit code 3" in words["u1"] and "SIGKILL" in words["u6"]
    with CacheFile(result.files[0]) as cache:
        assert cache["u4"]["pooled"].tolist() == [[8, 0]]


def test_results_that_are_there_raise_no_alarm_when_their_shard_is_read_again(tmp_path: Path) -> None:
    names = [f"a{n}" for n in range(4)]
    film = MediaRef("film", sha256=digest_of_file(put(tmp_path / "film")))
    rows = [
        Utterance(f"u{n}", "d", n, "Ann", name, None, replace(film, start=float(n), end=n + 1.0), {}, "train")
        for n, name in enumerate(names)
    ]
    engine = ENGINE.model_copy(update={"shard": 5})
    extract(tmp_path, Manifest("toy", "1", {}, {}, tuple(rows)), Loud, engine)
    other = MediaRef("bad", sha256=digest_of_file(put(tmp_path / "bad")))
    put(tmp_path / "film", "another film")
    more = Manifest("toy", "1", {}, {}, (*rows, replace(rows[0], id="new", audio=other)))
    told: list[str] = []
    feature = letters(tmp_path, kind=Loud)
    result = extract_corpus(
        more,
        [feature],
        engine,
        store=tmp_path / "store",
        out=tmp_path / "caches",
        root=tmp_path,
        tell=told.append,
    )
    assert [(f.utterance, f.reason) for f in result.failed] == [("new", "unreadable")] and told == []


def put(path: Path, text: str = "film") -> Path:
    path.write_text(text)
    return path


def with_workers(number: int) -> EngineParams:
    return ENGINE.model_copy(update={"lanes": number})


def test_the_number_of_lanes_changes_no_byte(tmp_path: Path) -> None:
    found = []
    for number in (1, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        manifest = corpus(folder, "a", "bb", "cc", "dd", "e", "f", "g")
        feature = replace(letters(tmp_path), name="letters")
        result = extract_corpus(
            manifest, [feature], with_workers(number), store=folder / "store", out=folder / "caches"
        )
        found.append(result.files[0].read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("activity", "change"),
    [
        (Activity("read", 0, "", (1, 2)), {"unreadable_rows": {1: FAULT, 2: FAULT}}),
        (Activity("faces", 0, "f", (0, 1)), {"faces_clip_by_clip": True}),
        (Activity("faces", 0, "f", (1,)), {"unreadable_rows": {1: FAULT}}),
        (Activity("encode", 0, "f", (0, 1)), {"run_singly": frozenset({"f"})}),
        (Activity("encode", 0, "f", (1,)), {"failed_rows": {("f", 1): FAULT}}),
    ],
)
def test_each_accident_is_blamed_on_what_was_being_done(
    activity: Activity, change: dict[str, object]
) -> None:
    job = WorkerJob(0, (), {})
    once = degraded(job, activity, FAULT)
    assert once == replace(job, isolated=True), "the first accident may have been anybody's"
    assert degraded(once, activity, FAULT) == replace(once, **change)  # type: ignore[arg-type]


def test_an_encoder_that_cannot_be_built_ends_the_run() -> None:
    with pytest.raises(WorkError, match="letters: its encoder cannot be built"):
        degraded(WorkerJob(0, (), {}, isolated=True), Activity("build", 0, "letters"), FAULT)


def read(root: Path, name: str, sha256: str | None) -> Missing | None:
    ref = MediaRef(name, sha256=sha256)
    ((_, clip),) = read_scanned(ReadRequest(root, name, sha256, (Span(ref, rates=(8000,)),), Limits()))
    return clip.no_sound


def test_a_file_that_the_scan_saw_and_that_is_gone_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(b"y")
    for missing in (read(tmp_path, "gone.wav", "0" * 64), read(tmp_path, "other.wav", "0" * 64)):
        assert missing is not None and missing.reason == Reason.CHANGED
        assert missing.reason.status == "unavailable"


def test_a_file_that_was_empty_at_the_scan_is_empty_for_good(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    missing = read(tmp_path, "empty.wav", digest_of_file(tmp_path / "empty.wav"))
    assert missing is not None and missing.reason == Reason.EMPTY_FILE and missing.reason.status == "missing"


def test_faces_are_found_on_the_threads_that_were_asked_for_whenever_torch_came() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)  # as torch is when it has just been imported
    try:
        setup = WorkerSetup({}, None, EngineParams(threads=1), "cpu")
        Worker(None, setup)._finder(FacePolicy())  # type: ignore[arg-type]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
