"""A store of somebody else, or without locks: what can be read is read, and nothing of theirs is changed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extract.engine.segment import HEAD
from tests.extract.engine.test_gc import filled, key, needs, payload
from tests.support.as_on import NOT_GIVEN_UP, NOT_HERE, refuses, refusing

RECORD = HEAD.size + len(payload(0))


def on(refused: str, what: str, folder: Path, own: Path) -> Any:
    """What this module finds in a process on such a machine: the answer and stderr."""
    kind = refused.partition("=")[0]
    if not refuses(kind):
        pytest.skip(NOT_GIVEN_UP if kind == "rights" else NOT_HERE)
    command = [
        *refusing(refused),
        sys.executable,
        "-m",
        "tests.extract.engine.test_shared_store",
        what,
        str(folder),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(own)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def closed(folder: Path) -> Path:
    """A store that may be read only; its last record is torn."""
    segment = filled(folder, range(4))
    os.truncate(segment, segment.stat().st_size - 1)
    segment.chmod(0o444)
    folder.chmod(0o555)
    return segment


def test_a_store_of_somebody_else_is_read_and_new_results_go_to_the_users_own(tmp_path: Path) -> None:
    segment = closed(tmp_path / "theirs")
    before = segment.read_bytes()
    for known in ([0, 1, 2], [0, 1, 2, 7]):  # of the second run, also what the first has put
        found, told = on("rights", "store", tmp_path / "theirs", tmp_path / "own")
        assert found == known
        assert told.count("\n") == 1 and str(tmp_path / "own") in told and "Permission denied" in told
    assert segment.read_bytes() == before and len(list((tmp_path / "theirs").iterdir())) == 1


def test_a_segment_that_cannot_be_read_is_passed_over_in_words(tmp_path: Path) -> None:
    filled(tmp_path / "s", range(2)).chmod(0o000)
    filled(tmp_path / "s", range(2, 4))
    found, told = on("rights", "store", tmp_path / "s", tmp_path / "own")
    assert found == [2, 3]
    assert told.count("\n") == 1 and "1 segments" in told and "are ignored" in told


def test_somebody_elses_torn_tail_in_a_folder_of_the_group_is_not_cut_and_not_collected(
    tmp_path: Path,
) -> None:
    segment = filled(tmp_path / "s", range(4))
    os.truncate(segment, segment.stat().st_size - 1)
    segment.chmod(0o444)
    assert on("rights", "store", tmp_path / "s", tmp_path / "own") == ([0, 1, 2], "")
    assert segment.stat().st_size == 4 * RECORD - 1
    found, _ = on("rights", "gc", tmp_path / "s", tmp_path / "own")
    assert found == {"unneeded": 1, "foreign": 1} and segment.stat().st_size == 4 * RECORD - 1


def test_a_store_that_nobody_may_write_is_refused_in_words(tmp_path: Path) -> None:
    closed(tmp_path / "theirs")
    (tmp_path / "own").mkdir(mode=0o555)
    found, _ = on("rights", "store", tmp_path / "theirs", tmp_path / "own")
    assert str(tmp_path / "theirs") in found and "ERCACHE_STORE" in found


@pytest.mark.parametrize("number", [37, 38, 95, 11, 5, 30])
def test_without_flock_the_store_works_and_cuts_and_collects_nothing(tmp_path: Path, number: int) -> None:
    segment = filled(tmp_path, range(4))
    os.truncate(segment, segment.stat().st_size - 1)
    (first, second, gc), told = on(f"flock={number}", "all", tmp_path, tmp_path)
    assert (first, second, told) == ([0, 1, 2], [0, 1, 2, 7], "")
    assert "no locks" in gc and "ERCACHE_STORE" in gc
    assert segment.stat().st_size == 4 * RECORD - 1


def test_without_locks_a_scan_looks_again_and_says_so_at_once(tmp_path: Path) -> None:
    found, told = on("locks=37", "memory", tmp_path, tmp_path)
    assert found is None
    assert "has no locks" in told and "every file is inspected" in told and told.count("\n") == 1


def test_a_scan_remembers_in_the_users_own_folder_what_it_may_not_remember_in_the_store(
    tmp_path: Path,
) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    found, told = on("rights", "memory", tmp_path / "theirs", tmp_path / "own")
    assert found == "seen" and told.count("\n") == 1 and str(tmp_path / "own") in told


def _store(folder: Path) -> Any:
    """Which records are found; another one is put."""
    from ercache.errors import UsageError
    from extract.engine.store import Store

    try:
        with Store(folder) as store:
            found = [n for n in range(10) if store.get(key(n)) == payload(n)]
            store.put(key(7), payload(7))
    except UsageError as error:
        return str(error)
    return found


def _gc(folder: Path) -> Any:
    from ercache.errors import WorkError
    from extract.engine.gc import collect_garbage

    try:
        garbage = collect_garbage(folder, needs(), free=True)
    except WorkError as error:
        return str(error)
    return {**garbage.records, "foreign": garbage.foreign}


def _memory(folder: Path) -> Any:
    from extract.corpora.common.scan_cache import FileStamp, ScanCache

    stamp = FileStamp("/a", 1, 1, 1, 1)
    for _ in range(2):
        with ScanCache("1", folder) as memory:
            memory.put(stamp, "seen")
            found = memory.get(stamp)
    return found


if __name__ == "__main__":
    what = {
        "all": lambda folder: [_store(folder), _store(folder), _gc(folder)],
        "store": _store,
        "gc": _gc,
        "memory": _memory,
    }[sys.argv[1]]
    print(json.dumps(what(Path(sys.argv[2]))))
