"""The survey: each file is looked at once, by all cores, and again only when it has changed."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import pytest

from ercache import paths
from ercache.reasons import Reason
from extract.corpora.common import inspect_media as inspect_module
from extract.corpora.common import scan_cache as scan_cache_module
from extract.corpora.common.inspect_media import MediaFacts, inspect_media
from extract.corpora.common.scan_cache import FILE, FileStamp, ScanCache, file_stamp

LOG = "ERCACHE_TEST_LOOKS"


def counted(root: Path, paths: Sequence[str]) -> list[MediaFacts]:
    """The look of the real thing, and a line for every file that was opened."""
    with Path(os.environ[LOG]).open("a") as log:
        log.writelines(f"{path}\n" for path in paths)
    return [inspect_module._inspect_file(root, path) for path in paths]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    sources = ("-f", "lavfi", "-i", "testsrc=s=32x32:r=10:d=0.5", "-f", "lavfi", "-i", "sine=d=0.5")
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, str(path)], check=True)
    return path


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File names in the order in which they were looked at; a store of its own."""
    monkeypatch.setattr(inspect_module, "inspect_files", counted)
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return tmp_path / "log"


def corpus(folder: Path, clip: Path, count: int = 5) -> list[str]:
    folder.mkdir()
    for n in range(count):
        shutil.copy(clip, folder / f"{n}.mp4")
        age(folder / f"{n}.mp4")
    return [f"{n}.mp4" for n in range(count)]


def age(path: Path) -> None:
    """As if it had been written ten seconds ago: younger files are not remembered."""
    then = time.time() - 10
    os.utime(path, (then, then))


def looked_at(log: Path) -> list[str]:
    names = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(names)


def test_a_second_survey_of_unchanged_files_looks_at_none_and_starts_no_process(
    tmp_path: Path, clip: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "corpus"
    names = corpus(root, clip, 40)
    (root / "broken.mp4").write_bytes(b"no film")
    age(root / "broken.mp4")
    names += ["broken.mp4", "absent.mp4"]
    first = inspect_media(root, names)
    assert looked_at(log) == sorted(names[:-1])
    monkeypatch.setattr(inspect_module, "process_pool", lambda workers: pytest.fail("a process was started"))
    ticks: list[tuple[int, int]] = []
    assert inspect_media(root, names, lambda done, of: ticks.append((done, of))) == first
    assert looked_at(log) == [] and ticks == [(42, 42)]
    assert first["0.mp4"].video and first["0.mp4"].seconds == pytest.approx(0.5)
    assert first["broken.mp4"].fault and first["broken.mp4"].fault[0] is Reason.UNREADABLE
    assert first["absent.mp4"].fault and first["absent.mp4"].fault[0] is Reason.ABSENT


@pytest.mark.usefixtures("scanned_here")
@pytest.mark.parametrize("change", ["size", "mtime", "inode", "content_in_place"])
def test_only_what_has_changed_is_looked_at_again(tmp_path: Path, clip: Path, log: Path, change: str) -> None:
    root = tmp_path / "corpus"
    names = corpus(root, clip)
    before = inspect_media(root, names)
    looked_at(log)
    path, facts = root / "2.mp4", (root / "2.mp4").stat()
    content = bytearray(path.read_bytes())
    if change == "size":
        path.write_bytes(content + b"\0")
    elif change == "mtime":
        os.utime(path, (1, 1))
    elif change == "inode":
        shutil.copy(path, root / "new")
        (root / "new").replace(path)
    else:  # same size, and the time put back, as some copying tools do
        content[-1] ^= 1
        path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + (change == "mtime")))
    after = inspect_media(root, names)
    assert looked_at(log) == ["2.mp4"]
    assert {n for n in names if after[n] != before[n]} <= {"2.mp4"}
    assert (after["2.mp4"].sha256 != before["2.mp4"].sha256) == (change in ("size", "content_in_place"))


@pytest.mark.usefixtures("scanned_here")
def test_a_file_that_was_written_just_now_is_not_remembered(tmp_path: Path, clip: Path, log: Path) -> None:
    shutil.copy(clip, tmp_path / "a.mp4")
    os.utime(tmp_path / "a.mp4")
    inspect_media(tmp_path, ["a.mp4"])
    inspect_media(tmp_path, ["a.mp4"])
    assert looked_at(log) == ["a.mp4", "a.mp4"]


def test_what_a_crash_or_a_timeout_left_open_is_tried_again(tmp_path: Path, clip: Path, log: Path) -> None:
    assert not inspect_module._is_final(MediaFacts("ab", fault=(Reason.CRASH, "")))
    assert not inspect_module._is_final(MediaFacts("ab", fault=(Reason.TIMEOUT, "")))
    assert inspect_module._is_final(
        MediaFacts("ab", fault=(Reason.UNREADABLE, "x"))
    ) and inspect_module._is_final(MediaFacts("ab", 1.0, True))


def test_a_killed_survey_keeps_what_it_saw(
    tmp_path: Path, clip: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "corpus"
    names = corpus(root, clip, 3 * inspect_module.CHUNK)
    monkeypatch.setattr(inspect_module, "cores", lambda: 1)

    def stop(done: int, of: int) -> None:
        if done >= inspect_module.CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_media(root, names, stop)
    seen_before = set(looked_at(log))
    inspect_media(root, names)
    again = looked_at(log)
    assert len(again) < len(names) and set(again) | seen_before == set(names)


def test_a_damaged_memory_is_made_anew_and_an_unusable_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database, but it is long enough to look like one" * 50)
    (tmp_path / "x").write_bytes(b"x")
    age(tmp_path / "x")
    stamp = file_stamp(tmp_path / "x")
    assert stamp is not None
    with ScanCache("1", tmp_path) as memory:
        assert memory.get(stamp) is None
        memory.put(stamp, "seen")
    with ScanCache("1", tmp_path) as memory:
        assert memory.get(stamp) == "seen"
    with ScanCache("2", tmp_path) as memory:
        assert memory.get(stamp) is None
    monkeypatch.setattr(paths, "user_folder", lambda: tmp_path / "file")
    (tmp_path / "file").touch()
    with ScanCache("1", tmp_path / "file") as memory:
        memory.put(stamp, "seen")
        assert memory.get(stamp) is None
    told = capsys.readouterr().err
    assert "every file is inspected" in told and "Warning" not in told and told.count("\n") == 1


def test_two_scans_may_write_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scan_cache_module, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(scan_cache_module, "COMMIT_SECONDS", -1.0)
    stamps = [FileStamp(f"/{n}", 1, 1, 1, n) for n in range(4)]
    with ScanCache("1", tmp_path) as one, ScanCache("1", tmp_path) as other:
        for stamp in stamps:
            one.put(stamp, "one")
            other.put(stamp, "other")
    assert sqlite3.connect(tmp_path / FILE).execute("SELECT count(*) FROM looks").fetchone() == (4,)
    holder = sqlite3.connect(tmp_path / FILE)
    holder.execute("BEGIN EXCLUSIVE")
    with ScanCache("1", tmp_path) as memory:
        memory.put(stamps[0], "late")
    assert "cannot be used (database is locked)" in capsys.readouterr().err
