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
        """Length of what was read. Frames lie at the centres of equal stretches, so first + last is the whole."""
        sounds = [len(sound) / rate for rate, sound in self.sounds.items()]
        pictures = [frames[0].time + frames[-1].time for frames in self.frames.values() if frames]
        return max([0.0, *sounds, *pictures])


def load(request: Request) -> Loaded:
    """Read one clip as asked; every fault of the data is a result."""
    try:
        path = check_file(request.root, request.ref)
        if digest_of_file(path) != request.ref.sha256:
            raise Missing(Reason.CHANGED, "its sha256 is not the one in the manifest")
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
        return [pool.submit(load, request) for request in batch]

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


def _patience(request: Request) -> float:
    """Seconds after which a worker counts as hanging: each of its ffmpeg calls has its own limit."""
    return request.limits.seconds * (1 + len(request.frames) + bool(request.rates)) + 30
