"""Cache files are the same bytes on file systems that cannot do everything: no fallocate, no locks, little room."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ercache.cache import CacheFile, verify_cache
from ercache.errors import WorkError
from ercache.files import flush_folder, reserve_space
from tests.ercache.test_cache import small_cache
from tests.support.as_on import NOT_HERE, refuses, refusing

REFUSED = ("fallocate", *(f"flock={n}" for n in (37, 38, 95, 11, 5, 30)), "locks=37")


def on(refused: str, path: Path) -> str:
    """What this module says when it writes, reads and verifies a cache file there."""
    if not refuses(refused.partition("=")[0]):
        pytest.skip(NOT_HERE)
    command = [*refusing(refused), sys.executable, "-m", "tests.ercache.test_file_systems", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("refused", REFUSED)
def test_a_cache_file_is_written_and_read_on_limited_file_systems(tmp_path: Path, refused: str) -> None:
    assert on(refused, tmp_path / "there.h5") == "[] 5\n"
    assert (tmp_path / "there.h5").read_bytes() == small_cache(tmp_path / "here.h5").read_bytes()


def test_a_cache_file_can_be_read_while_another_program_locks_it(tmp_path: Path) -> None:
    path = small_cache(tmp_path / "a.h5")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not verify_cache(path)


def test_without_fallocate_a_full_disk_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr("ercache.files.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    reserve_space(tmp_path / "small", 1000)
    with pytest.raises(WorkError, match="no space left"):
        small_cache(tmp_path / "a.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


def test_only_a_failing_disk_is_an_error_when_a_folder_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [22, 95, 5]

    def fsync(_: int) -> None:
        raise OSError(answers.pop(0), "no")

    monkeypatch.setattr("ercache.files.os.fsync", fsync)
    flush_folder(tmp_path)
    flush_folder(tmp_path)
    with pytest.raises(OSError, match="no"):
        flush_folder(tmp_path)


if __name__ == "__main__":
    small_cache(Path(sys.argv[1]))
    with CacheFile(Path(sys.argv[1])) as written:
        print(verify_cache(Path(sys.argv[1])), len(written.ids))
