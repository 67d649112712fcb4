"""Decode workers: a clip that kills or hangs its worker costs that clip, and a lost disk is not the data's fault."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ercache.digests import digest_of_file
from ercache.manifest import MediaRef
from ercache.params import Limits
from ercache.reasons import Reason
from extract.engine import loader
from extract.engine.loader import Loaded, Loader, Request, load


def request(root: Path, name: str, content: bytes | None = b"x") -> Request:
    """A request for a file; `die` and `hang` in its name tell the stand-in worker below what to do."""
    digest = "0" * 64
    if content is not None:
        (root / name).write_bytes(content)
        digest = digest_of_file(root / name)
    return Request(root, MediaRef(name, sha256=digest), (), (), Limits(seconds=1))


def stand_in(given: Request) -> Loaded:
    """Runs in a worker instead of `load`."""
    if "die" in given.ref.path:
        os._exit(3)
    if "hang" in given.ref.path:
        time.sleep(600)
    return Loaded()


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "load", stand_in)


Names = Callable[[list[list[str]]], list[list[Reason | None]]]


@pytest.fixture
def run(tmp_path: Path, _worker: None) -> Names:
    def stream(names: list[list[str]]) -> list[list[Reason | None]]:
        batches = [[request(tmp_path, name) for name in batch] for batch in names]
        found = []
        with Loader(2) as opened:
            for batch in opened.stream(batches):
                time.sleep(0.5)  # the engine encodes while later batches are decoded
                found.append([item.fault[0] if item.fault else None for item in batch])
        return found

    return stream


def test_a_clip_that_kills_its_worker_is_a_crash_and_the_run_goes_on(run: Names) -> None:
    found = run([["a", "b"], ["c", "die"], ["d"], ["e"], ["f"]])
    assert found == [[None, None], [None, Reason.CRASH], [None], [None], [None]]


def test_a_clip_that_hangs_is_a_timeout_and_the_run_goes_on(
    run: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_patience", lambda _: 6.0)
    assert run([["a"], ["hang", "b"], ["c"]]) == [[None], [Reason.TIMEOUT, None], [None]]


def test_a_file_that_the_scan_saw_and_that_is_gone_is_tried_again(tmp_path: Path) -> None:
    gone = load(request(tmp_path, "gone.mp4", None)).fault
    other = request(tmp_path, "other.mp4")
    (tmp_path / "other.mp4").write_bytes(b"y")
    for fault in (gone, load(other).fault):
        assert fault is not None and fault[0] == Reason.CHANGED
        assert fault[0].status == "unavailable"


def test_a_file_that_was_empty_at_the_scan_is_empty_for_good(tmp_path: Path) -> None:
    fault = load(request(tmp_path, "empty.mp4", b"")).fault
    assert fault is not None and fault[0] == Reason.EMPTY_FILE and fault[0].status == "missing"
