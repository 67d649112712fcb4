"""The benchmark of scanning: the corpus has what it says, and its figures tell a look from a memory."""

import os
import time
from pathlib import Path

import pytest

from bench import scan
from ercache.manifest import read_manifest


def test_the_figures_count_the_files_that_a_scan_and_a_rescan_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    scan.corpus(tmp_path / "corpus", utterances=60, files=3)
    then = time.time() - 10  # a file that was written just now is not remembered
    for path in (tmp_path / "corpus").iterdir():
        os.utime(path, (then, then))
    assert scan.step("scan", tmp_path)["looks"] == 3
    assert scan.step("scan", tmp_path)["looks"] == 0
    assert "looks" not in scan.step("read", tmp_path)
    manifest = read_manifest(tmp_path / "manifest.jsonl")
    assert len(manifest.utterances) == 60
    assert [p.reason for p in manifest.problems] == ["shared_speakers"]
    assert {u.audio and u.audio.sha256 for u in manifest.utterances}.isdisjoint([None])
