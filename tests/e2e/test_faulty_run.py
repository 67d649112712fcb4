"""A whole scan and extraction among files at which the media libraries fail: it ends, and harms no other file."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from ercache.cache import CacheFile, Status
from tests.e2e.conftest import Project
from tests.e2e.test_hostile import FEATURES, write_project
from tests.extract.engine.test_library_faults import ERRORS, FAULTY, SITES, name_of, short_clip
from tests.support.hostile_run import watched

pytestmark = pytest.mark.e2e


def test_a_run_among_failing_libraries_ends_and_other_files_are_unharmed(tmp_path: Path) -> None:
    folder, root = tmp_path / "project", tmp_path / "media"
    folder.mkdir()
    root.mkdir()
    failing = [name_of(site, ERRORS[n % len(ERRORS)]) for n, site in enumerate(SITES)]
    good = [f"good {n}.mp4" for n in range(6)]
    made = [good[0], *failing, *good[1:]]
    for number, name in enumerate(made):
        make(root / name, number)
    write_project(folder, root, made)
    told = tmp_path / "reached.txt"
    told.touch()
    more = {"PYTHONPATH": str(FAULTY), "ERCACHE_TEST_REACHED": str(told)}
    environment = {**Project(folder, folder / "store").environment, **more}
    for command in (["scan"], ["extract", "--features", ",".join(FEATURES), "--fail-over", "100"]):
        verb, *options = command
        done = watched(folder, environment, verb, "folder", "--root", str(root), *options, limit=150)
        assert done.code == 0 and "Traceback" not in done.err, done.err[-3000:]
        assert done.left == [] and done.shared == []
    reached = set(told.read_text().splitlines())
    assert len({name.split("--")[1] for name in reached}) > 3, "the libraries do fail"
    bad = failures(folder)
    for path in (folder / "data/caches").rglob("*.h5"):
        with CacheFile(path) as cache:
            assert sorted(cache.row) == sorted(made)
            for name in good:
                assert cache.entries[cache.row[name]].status is Status.OK
                assert all(np.array_equal(a, cache[good[0]][k]) for k, a in cache[name].items())
            assert {e.id for e in cache.entries if e.status is not Status.OK} - without_pictures(
                failing
            ) <= bad


def without_pictures(names: list[str]) -> set[str]:
    return {name for name in names if name.endswith("wav")}


def failures(folder: Path) -> set[str]:
    """Utterances of failures.csv that have words beside their reason."""
    rows: list[dict[str, str]] = []
    for path in (folder / "data/logs").glob("*failures.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            rows += csv.DictReader(stream)
    return {row["utterance"] for row in rows if row["detail"] and row["status"] != "ok"}


def make(path: Path, number: int) -> None:
    """A clip, all alike but for a box or chunk at the end with its number: equal content would be looked at once."""
    source = path.with_name(f"clip{path.suffix}").parent.parent / f"clip{path.suffix}"
    if not source.exists():
        short_clip(source)
    mark = (12).to_bytes(4, "big") + b"free" if path.suffix == ".mp4" else b"free" + (4).to_bytes(4, "little")
    path.write_bytes(source.read_bytes() + mark + number.to_bytes(4, "big"))
    os.utime(path, (1e9, 1e9))
