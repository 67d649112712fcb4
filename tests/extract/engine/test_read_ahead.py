"""Reading ahead: nobody waits for ever, and memory holds what is allowed and one clip, however many read."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.manifest import MediaRef
from ercache.params.schema import EngineParams
from extract.engine import read_ahead
from extract.engine.job import WorkerJob, WorkerSetup
from extract.engine.plan import InputSource
from extract.engine.read_ahead import FileOrder, MemoryBudget, ReadAhead
from extract.engine.trace import Trace
from extract.media import Clip
from extract.media.scanned import ReadRequest
from tests.support.toy_letters import Loud, letters

PATIENCE = 20.0  # seconds after which a test says that somebody waits for ever
Shards = list[list[list[int]]]  # shard -> file -> bytes of its clips

SHARDS = st.lists(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
)


class Readers:
    """Readers that read files in their order, and one who takes shard after shard, all with one budget."""

    def __init__(self, shards: Shards, most: int, readers: int) -> None:
        self.budget = MemoryBudget(most)
        self.peak = 0
        self.taken: list[int] = []
        self._files: deque[tuple[FileOrder, list[int]]] = deque()
        self._lock = threading.Lock()
        self._arrived = [threading.Semaphore(0) for _ in shards]
        self._clips: list[deque[int]] = [deque() for _ in shards]
        self._shards = shards
        for number, files in enumerate(shards):
            for n, clips in enumerate(files):
                self.budget.begin((number, n))
                self._files.append(((number, n), clips))
        threads = [threading.Thread(target=self._read, daemon=True) for _ in range(readers)]
        threads.append(threading.Thread(target=self._take, daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.ended = not any(thread.is_alive() for thread in threads)

    def _read(self) -> None:
        while True:
            with self._lock:
                if not self._files:
                    return
                turn, clips = self._files.popleft()
            for nbytes in clips:
                self.budget.wait_for_room(turn, nbytes)
                self.peak = max(self.peak, self.budget.held)
                self._clips[turn[0]].append(nbytes)
                self._arrived[turn[0]].release()
            self.budget.end(turn)

    def _take(self) -> None:
        for number, files in enumerate(self._shards):
            for _ in range(sum(map(len, files))):
                self._arrived[number].acquire()
                nbytes = self._clips[number].popleft()
                self.budget.release(number, nbytes)
                self.taken.append(nbytes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SHARDS, st.integers(0, 12), st.integers(1, 3))
def test_nobody_waits_for_ever_and_memory_holds_the_limit_and_one_clip(
    shards: Shards, most: int, readers: int
) -> None:
    run = Readers(shards, most, readers)
    clips = [nbytes for files in shards for clips in files for nbytes in clips]
    assert run.ended, "somebody waits for ever"
    assert sorted(run.taken) == sorted(clips) and run.budget.held == 0
    assert run.peak <= most + max(clips)


def waits(work: Callable[[], None]) -> threading.Thread:
    """A thread that is seen to wait for something."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    return thread


def test_the_file_that_is_waited_for_may_always_go_on() -> None:
    budget = MemoryBudget(10)
    for turn in ((1, 0), (1, 1), (2, 0)):
        budget.begin(turn)
    budget.wait_for_room((2, 0), 9)  # of a shard that nobody takes before the first
    budget.wait_for_room((1, 0), 5)
    assert budget.held == 14


def test_no_other_file_goes_beyond_the_limit_and_neither_does_this_one_by_two_clips() -> None:
    budget = MemoryBudget(10)
    for turn in ((1, 0), (1, 1)):
        budget.begin(turn)
    budget.wait_for_room((1, 0), 15)
    mine, other = (waits(lambda turn=turn: budget.wait_for_room(turn, 1)) for turn in ((1, 0), (1, 1)))  # type: ignore[misc]
    budget.release(1, 15)
    for thread in (mine, other):
        thread.join(PATIENCE)
    assert budget.held == 2


def test_the_turn_passes_on_when_a_file_is_read_to_its_end() -> None:
    budget = MemoryBudget(10)
    for turn in ((1, 0), (1, 1)):
        budget.begin(turn)
    thread = waits(lambda: budget.wait_for_room((1, 1), 11))
    budget.end((1, 0))
    thread.join(PATIENCE)
    assert budget.held == 11


class Instant:
    """Reads in this process: a clip of a megabyte for each stretch; `reading` counts those who read at once."""

    reading, most = 0, 0
    lock = threading.Lock()

    def __init__(self, function: object) -> None:
        pass

    def __enter__(self) -> "Instant":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, request: ReadRequest) -> Iterator[tuple[int, Clip]]:
        with Instant.lock:
            Instant.reading += 1
            Instant.most = max(Instant.most, Instant.reading)
        time.sleep(0.05)
        if request.path == "ours.wav":
            raise ZeroDivisionError("a fault of ours")
        for number in reversed(range(len(request.spans))):
            yield number, Clip(sounds={8000: np.full(250_000, number, np.float32)})
        with Instant.lock:
            Instant.reading -= 1


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "MediaReader", Instant)
    Instant.reading = Instant.most = 0


def job(number: int, *files: str) -> WorkerJob:
    """A job of two stretches of each file."""
    refs = [MediaRef(f, start=s, end=s + 1.0) for f in files for s in (0.0, 1.0)]
    shard = tuple(InputSource({"audio": {}}, f"u{n}", audio=ref) for n, ref in enumerate(refs))
    return WorkerJob(number, shard, {"loud": tuple(range(len(refs)))})


def reading(workers: int, megabytes: float) -> ReadAhead:
    features = {"loud": letters(Path("unused"), "loud", kind=Loud)}
    return ReadAhead(
        WorkerSetup(features, Path(), EngineParams(workers=workers, memory=megabytes), "cpu"), Trace()
    )


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("megabytes", [0.1, 100])
def test_every_stretch_of_every_job_comes_to_its_row(workers: int, megabytes: float) -> None:
    ahead = reading(workers, megabytes)
    jobs = [job(n, f"{n}a.wav", f"{n}b.wav", f"{n}c.wav") for n in range(3)]
    begun = [ahead.begin(each) for each in jobs]
    for arrivals in begun:
        taken = [arrived for arrived in ahead.clips(arrivals) if arrived is not None]
        assert sorted(use.row for use, _ in taken) == [0, 1, 2, 3, 4, 5]
        assert all(clip.sounds[8000][0] == use.row % 2 for use, clip in taken)
    assert Instant.most == workers, "as many read at once as there are readers"


@pytest.mark.usefixtures("instant")
def test_a_fault_of_ours_is_raised_where_the_clip_is_waited_for() -> None:
    ahead = reading(1, 100)
    arrivals = ahead.begin(job(0, "ours.wav"))
    with pytest.raises(ZeroDivisionError, match="of ours"):
        list(ahead.clips(arrivals))


@pytest.mark.usefixtures("instant")
def test_whoever_waits_long_is_told_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "WAIT_SECONDS", 0.01)
    ahead = reading(1, 100)
    arrivals = ahead.begin(job(0, "slow.wav"))
    assert None in list(ahead.clips(arrivals))
