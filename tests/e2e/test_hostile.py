"""Hostile media, judged by FFmpeg: what it reads is read, what it cannot read has a reason, no file harms another."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ercache.cache import CacheFile, Entry, Status
from ercache.reasons import Reason
from tests.e2e.conftest import ROOT, Project
from tests.support.hostile_judge import Verdict, judge_choice, judge_pictures, judge_sound, most_of
from tests.support.hostile_media import Mutant, bases, mutants
from tests.support.hostile_run import Watched, watched
from tests.support.hostile_truth import Truth, truth_of

pytestmark = pytest.mark.e2e

LIMIT = 20.0  # seconds for one decoding, ours and FFmpeg's
FEATURES = {
    "all": {"encoder": "visual/thumbs", "count": 600, "rule": "first"},
    "six": {"encoder": "visual/thumbs", "count": 6},
    "sound": {"encoder": "audio/samples", "max_seconds": 120},
}
RSS_MB = 3000  # of all processes together: engine, lanes and readers with their libraries
FDS = 150  # of any one process


@dataclass(frozen=True, repr=False)
class Run:
    """One scan and one extraction of all mutants, and what FFmpeg says of each."""

    made: dict[str, Mutant]
    truths: dict[str, Truth]
    scan: Watched
    extract: Watched
    caches: dict[str, CacheFile]
    failures: dict[tuple[str, str], str]
    temporary: list[str]


@pytest.fixture(scope="module", params=[200, pytest.param(2000, marks=pytest.mark.full)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Make the mutants, ask FFmpeg, then scan and extract them all as a user does."""
    folder, root = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("media")
    made = {m.name: m for m in mutants(bases(tmp_path_factory.mktemp("bases")), request.param)}
    for name, mutant in made.items():
        (root / name).write_bytes(mutant.data)
    write_project(folder, root, list(made))
    with ThreadPoolExecutor(2) as pool:
        truths = dict(zip(made, pool.map(lambda name: truth_of(root / name, LIMIT), made), strict=True))
    temporary = tmp_path_factory.mktemp("temporary")
    environment = {**Project(folder, folder / "store").environment, "TMPDIR": str(temporary)}
    limit = 60 + 0.5 * len(made)
    scan = watched(folder, environment, "scan", "folder", "--root", str(root), limit=limit)
    asked = ("--features", ",".join(FEATURES), "--fail-over", "100", "--root", str(root), "--json")
    extract = watched(folder, environment, "extract", "folder", *asked, limit=limit)
    caches = {path.name.split(".")[0]: CacheFile(path) for path in (folder / "data/caches").rglob("*.h5")}
    yield Run(made, truths, scan, extract, caches, failures(folder), os.listdir(temporary))
    for cache in caches.values():
        cache.close()


def write_project(folder: Path, root: Path, names: list[str]) -> None:
    """A project whose features keep what was read as it is, and a table of the mutants."""
    (folder / "extract").mkdir()
    shutil.copy(ROOT / "extract/versions.yaml", folder / "extract/versions.yaml")
    engine = {"lanes": 2, "workers": 1, "limits": {"seconds": LIMIT, "duration": 1e6}}
    (folder / "params.yaml").write_text(yaml.safe_dump({"features": FEATURES, "engine": engine}))
    with (root / "utterances.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "video", "audio", "text"), *((n, n, n, "Oh!") for n in names)])


def failures(folder: Path) -> dict[tuple[str, str], str]:
    """Details of what failures.csv tells of features that are not there."""
    rows = [p.read_text(encoding="utf-8") for p in (folder / "data/logs").glob("*failures.csv")]
    return {
        (row["utterance"], row["feature"]): row["detail"]
        for text in rows
        for row in csv.DictReader(text.splitlines())
        if row["status"] != "ok"  # a note
    }


def entry_of(run: Run, feature: str, name: str) -> Entry:
    cache = run.caches[feature]
    return cache.entries[cache.row[name]]


def verdicts(run: Run) -> list[Verdict]:
    """What is to be said of each mutant's pictures and sound."""
    found = []
    for name, mutant in run.made.items():
        truth = run.truths[name]
        seen, six, heard = (entry_of(run, feature, name) for feature in FEATURES)
        found += [
            judge_pictures(mutant, seen, run.caches["all"], truth),
            judge_choice(mutant, six, run.caches["six"], run.caches["all"], truth),
            judge_sound(mutant, heard, run.caches["sound"], truth),
        ]
    return found


def test_the_runs_end_in_time_without_a_crash(run: Run) -> None:
    for command in (run.scan, run.extract):
        assert command.code == 0, command.err[-3000:]
        assert "Traceback" not in command.err
    print(f"scan {run.scan.seconds:.0f} s, extract {run.extract.seconds:.0f} s, {run.extract.rss_mb:.0f} MB")


def test_every_medium_has_one_outcome_with_its_reason(run: Run) -> None:
    for feature, cache in run.caches.items():
        assert sorted(e.id for e in cache.entries) == sorted(run.made)
        bad = {e.id: e for e in cache.entries if e.status is not Status.OK}
        assert set(bad) == {u for u, f in run.failures if f == feature}
        assert all(Reason(e.reason).status is e.status for e in bad.values())
    assert set(run.caches) == set(FEATURES)


def test_nothing_is_left_behind_and_memory_is_bounded(run: Run) -> None:
    for command in (run.scan, run.extract):
        assert command.left == [] and command.shared == []
        assert command.rss_mb < RSS_MB and command.fds < FDS
    assert run.temporary == []


def test_what_was_read_is_what_ffmpeg_reads(run: Run) -> None:
    found = verdicts(run)
    counts = Counter((v.medium, v.kind) for v in found)
    print("\n".join(f"{medium}: {kind}: {n}" for (medium, kind), n in sorted(counts.items())))
    faults = [f"{v.name}: {v.medium}: {v.words}" for v in found if v.kind == "fault"]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)
    for (medium, kind), n in counts.items():
        if kind not in ("same", "neither"):
            assert n <= most_of(kind, len(run.made)), f"{medium}: {kind}: {n}"
