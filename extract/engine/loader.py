"""Decoding in worker processes: what a batch needs, loaded while the batch before it is encoded."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import MediaRef
from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.encoders.base import FloatArray, Frame
from extract.media import check_file, read_frames, read_sound, resample
from extract.processes import process_pool

AHEAD = 2  # batches that are decoded while one is encoded


@dataclass(frozen=True)
class Request:
    """What to load of one clip: sound at some rates, or some numbers of frames."""

    root: Path
    ref: MediaRef
    rates: tuple[int, ...]
    frames: tuple[int, ...]
    limits: Limits


@dataclass(frozen=True)
class Loaded:
    """What was asked for, or why it cannot be had."""

    sounds: dict[int, FloatArray] = field(default_factory=dict)
    frames: dict[int, tuple[Frame, ...]] = field(default_factory=dict)
    fault: tuple[Reason, str] | None = None

    @property
    def seconds(self) -> float:
        """Length of what was read. n frames lie at the centres of n equal stretches."""
        sounds = [len(sound) / rate for rate, sound in self.sounds.items()]
        pictures = [
            (frames[-1].time - frames[0].time) * len(frames) / (len(frames) - 1)
            for frames in self.frames.values()
            if len(frames) > 1
        ]
        return max([0.0, *sounds, *pictures])


def load(request: Request) -> Loaded:
    """Read one clip as asked; every fault of the data is a result."""
    try:
        path = _scanned_file(request)
        frames = {n: tuple(read_frames(path, request.ref, n, request.limits)) for n in request.frames}
        sounds: dict[int, FloatArray] = {}
        if request.rates:
            sound, rate = read_sound(path, request.ref, request.limits)
            sounds = {target: resample(sound, rate, target) for target in request.rates}
        return Loaded(sounds, frames)
    except Missing as missing:
        return Loaded(fault=(missing.reason, missing.detail))
    except MemoryError as error:
        return Loaded(fault=(Reason.OUT_OF_MEMORY, str(error)))
    except OSError as error:
        return Loaded(fault=(Reason.CHANGED, str(error)))


def _scanned_file(request: Request) -> Path:
    """The file that the scan saw; if it is not there any more, that is a fault of this run, not of the data.

    Raises:
        Missing: with `CHANGED`, which is tried again.
    """
    try:
        path = check_file(request.root, request.ref)
        same = digest_of_file(path) == request.ref.sha256
    except Missing as missing:
        if missing.reason in (Reason.EMPTY_FILE, Reason.GIT_LFS_POINTER):
            same = _digest_of_bad_file(request) == request.ref.sha256
            if same:
                raise
        raise Missing(Reason.CHANGED, f"{missing.reason.value}: {missing.detail}") from missing
    if not same:
        raise Missing(Reason.CHANGED, "its sha256 is not the one in the manifest")
    return path


def _digest_of_bad_file(request: Request) -> str:
    return digest_of_file(request.root / request.ref.path)


class Loader:
    """A pool of decode workers with a bounded number of batches in flight. Use as a context manager.

    A worker that dies or hangs costs its clip, not the run: the batch's clips are tried once more, each alone.

    Args:
        workers: processes.
        mark: called with True when a batch goes to the workers and False when it is back.
    """

    def __init__(self, workers: int, mark: Callable[[bool], None] = lambda _: None) -> None:
        self._workers = workers
        self._mark = mark
        self._pool: ProcessPoolExecutor | None = None

    def stream(self, batches: Sequence[Sequence[Request]]) -> Iterator[list[Loaded]]:
        """Load batches in order, reading at most `AHEAD` batches before they are needed."""
        waiting: list[list[Future[Loaded]]] = []
        for n, batch in enumerate(batches):
            while len(waiting) <= AHEAD and n + len(waiting) < len(batches):
                waiting.append(self._submit(batches[n + len(waiting)]))
            done = self._collect(batch, waiting.pop(0))
            if self._pool is None:
                waiting.clear()
            yield done

    def _submit(self, batch: Sequence[Request]) -> list[Future[Loaded]]:
        self._mark(True)
        pool = self._open(self._workers)
        return [_submitted(pool, request) for request in batch]

    def _collect(self, batch: Sequence[Request], futures: Sequence[Future[Loaded]]) -> list[Loaded]:
        try:
            return [f.result(timeout=_patience(r)) for f, r in zip(futures, batch, strict=True)]
        except (BrokenProcessPool, TimeoutError):
            self._stop()
            return [self._alone(request) for request in batch]
        finally:
            self._mark(False)

    def _alone(self, request: Request) -> Loaded:
        try:
            return self._open(1).submit(load, request).result(timeout=_patience(request))
        except BrokenProcessPool:
            return Loaded(fault=(Reason.CRASH, "the decode worker died twice on this clip"))
        except TimeoutError:
            return Loaded(fault=(Reason.TIMEOUT, f"no answer within {_patience(request):.0f} s, twice"))
        finally:
            self._stop()

    def _open(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = process_pool(workers)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            self._pool = None

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


def _submitted(pool: ProcessPoolExecutor, request: Request) -> Future[Loaded]:
    """A future even where the pool broke meanwhile: who collects it decides what to do."""
    try:
        return pool.submit(load, request)
    except BrokenProcessPool as error:
        lost: Future[Loaded] = Future()
        lost.set_exception(error)
        return lost


def _patience(request: Request) -> float:
    """Seconds after which a worker counts as hanging: each of its ffmpeg calls has its own limit."""
    return request.limits.seconds * (1 + len(request.frames) + bool(request.rates)) + 30
