"""A process that reads may die or hang: that costs what it was at, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Reason
from extract.media import Clip, Span, read_clips, reader
from extract.media.reader import MediaReader
from extract.media.scanned import ReadRequest
from extract.media.types import PictureRequest
from tests.support import toy_reader
from tests.support.media_makers import LIMITS, pictures, run, tone, wave

ROOT = Path(__file__).parents[3]


def request(root: Path, name: str, count: int = 5, limits: Limits = LIMITS) -> ReadRequest:
    spans = tuple(Span(MediaRef(name, float(n), n + 1.0), (), (8000,)) for n in range(count))
    return ReadRequest(root, name, None, spans, limits)


def pids(root: Path) -> list[int]:
    """The processes that have read, the first one first."""
    files = sorted(root.glob("pid *"), key=lambda path: path.stat().st_mtime_ns)
    return [int(path.name.split()[1]) for path in files]


def lives(pid: int) -> bool:
    """Whether a process is there and does more than wait for its parent to look at its end."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def within(seconds: float, happens: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def toys() -> Iterator[MediaReader]:
    with MediaReader(toy_reader.read) as some:
        yield some


def second(clip: Clip) -> float:
    return float(clip.sounds[8000][0])


def test_one_process_reads_file_after_file(tmp_path: Path, toys: MediaReader) -> None:
    for name in ("a", "b", "c"):
        found = dict(toys.read(request(tmp_path, name)))
        assert {n: second(clip) for n, clip in found.items()} == {n: n for n in range(5)}
    assert len(pids(tmp_path)) == 1


def test_a_process_killed_in_the_middle_of_a_file_is_begun_anew_and_nothing_is_lost(
    tmp_path: Path, toys: MediaReader
) -> None:
    found = list(toys.read(request(tmp_path, "killed once")))
    assert [n for n, _ in found] == list(range(5)) and [second(clip) for _, clip in found] == [0, 1, 2, 3, 4]
    assert len(pids(tmp_path)) == 2 and not lives(pids(tmp_path)[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [("killed", "SIGKILL"), ("strange", "signal 40"), ("raises", "exit code 1")],
)
def test_what_ends_a_process_twice_is_given_up_and_the_rest_is_read(
    tmp_path: Path, toys: MediaReader, name: str, words: str
) -> None:
    found = dict(toys.read(request(tmp_path, name)))
    fault = found.pop(2).no_sound
    assert fault is not None and fault.reason is Reason.CRASH and words in fault.detail, fault
    assert {n: second(clip) for n, clip in found.items()} == {0: 0, 1: 1, 3: 3, 4: 4}
    assert len(pids(tmp_path)) == 3
    assert [second(clip) for _, clip in toys.read(request(tmp_path, "next"))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["forgets", "killed once forgets"])
def test_a_stretch_without_an_answer_is_a_fault_and_nobody_waits_for_it(
    tmp_path: Path, toys: MediaReader, name: str
) -> None:
    found = dict(toys.read(request(tmp_path, name)))
    fault = found.pop(2).no_sound
    assert fault is not None and fault.reason is Reason.FAULT
    assert {n: second(clip) for n, clip in found.items()} == {0: 0, 1: 1, 3: 3, 4: 4}


def test_a_process_that_hangs_is_ended_and_the_next_file_is_read(
    tmp_path: Path, toys: MediaReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(toys.read(request(tmp_path, "first")))  # it has begun
    monkeypatch.setattr(reader, "START_SECONDS", 0.2)
    found = dict(toys.read(request(tmp_path, "hangs", limits=Limits(seconds=0.3))))
    reasons = [found[n].no_sound and found[n].no_sound.reason for n in range(5)]
    assert reasons == [None, None, *[Reason.TIMEOUT] * 3]
    assert not lives(pids(tmp_path)[0])
    monkeypatch.undo()
    assert len(list(toys.read(request(tmp_path, "next")))) == 5


def test_a_process_that_shows_signs_of_life_is_waited_for(
    tmp_path: Path, toys: MediaReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(toys.read(request(tmp_path, "first")))
    monkeypatch.setattr(reader, "START_SECONDS", 1.0)
    found = dict(toys.read(request(tmp_path, "slow", limits=Limits(seconds=0.5))))
    assert all(clip.no_sound is None for clip in found.values()) and len(pids(tmp_path)) == 1


PARENT = """
import sys
from pathlib import Path
from tests.extract.media.test_reader import request
from tests.extract.media.test_reader import toy_reader
from extract.media.reader import MediaReader
list(MediaReader(toy_reader.read).read(request(Path(sys.argv[1]), "busy")))
"""


def test_a_busy_process_dies_with_its_parent(tmp_path: Path) -> None:
    paths = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=paths) as parent:
        assert within(60, (tmp_path / "busy").exists)
        (child,) = pids(tmp_path)
        assert lives(child)
        parent.send_signal(signal.SIGKILL)
    assert within(10, lambda: not lives(child))


def test_nothing_is_left_of_a_reader(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for name in ("fine", "killed"):
        with MediaReader(toy_reader.read) as some:
            list(some.read(request(tmp_path, name)))
    with MediaReader(toy_reader.read) as some:
        next(some.read(request(tmp_path, "busy")))
    assert descriptors() == before and not any(map(lives, pids(tmp_path)))
    with MediaReader(toy_reader.read):
        pass  # one that never read


def test_whoever_stops_listening_leaves_a_reader_that_reads(tmp_path: Path, toys: MediaReader) -> None:
    for name in ("fine", "busy", "huge"):
        some = toys.read(request(tmp_path, name, count=4))
        assert second(next(some)[1]) == 0
        some.close()  # type: ignore[attr-defined]
    assert [second(clip) for _, clip in toys.read(request(tmp_path, "next", 16))] == list(range(16))


def test_hundreds_of_megabytes_of_pictures_pass(tmp_path: Path, toys: MediaReader) -> None:
    ((number, clip),) = toys.read(request(tmp_path, "huge", count=1))
    frames = clip.pictures[PictureRequest(60)]
    assert number == 0 and clip.nbytes > 350e6 and len(frames) == 60
    assert frames[59].image[0, 0].tolist() == [59, 60, 61]


def test_a_file_is_read_in_the_process_as_it_is_here(tmp_path: Path) -> None:
    wave(tmp_path / "a.wav", tone(5))
    with MediaReader() as some:
        found = dict(some.read(request(tmp_path, "a.wav")))
        assert [clip.sounds[8000].shape for clip in found.values()] == [(8000,)] * 5
        gone = dict(some.read(request(tmp_path, "absent.wav")))
    assert {clip.no_sound and clip.no_sound.reason for clip in gone.values()} == {Reason.CHANGED}


def test_time_that_a_listener_takes_is_not_that_of_the_file(tmp_path: Path) -> None:
    """An encoder that is slow may leave what was read waiting for minutes."""
    path = pictures(tmp_path / "v.mkv", 60)
    wanted = [Span(MediaRef(path.name, float(n), n + 1.0), (PictureRequest(3),)) for n in range(5)]
    found = []
    for _, clip in read_clips(path, wanted, Limits(seconds=3)):
        found.append(clip.no_pictures)
        time.sleep(1.2)
    assert found == [None] * 5


def test_decoding_has_its_time_and_shows_signs_of_life(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    source = (
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=1920x1080:rate=100",
        "-f",
        "lavfi",
        "-i",
        "sine=sample_rate=16000",
    )
    run(*source, "-t", "2", "-c:v", "mjpeg", "-q:v", "31", "-c:a", "aac", str(path))
    ticks: list[float] = []
    span = Span(MediaRef("x"), (PictureRequest(200, side=1080),), (16_000,))
    began = time.monotonic()
    ((_, clip),) = read_clips(path, [span], Limits(seconds=0.4), lambda: ticks.append(time.monotonic()))
    assert clip.no_pictures is not None and clip.no_pictures.reason is Reason.TIMEOUT
    assert clip.no_sound is None and len(clip.sounds[16_000]) == pytest.approx(32_000, abs=2_000)
    assert np.diff([began, *ticks]).max() < 5 and len(ticks) > 20
