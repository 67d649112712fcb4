"""Reading ahead: files of the next shards are read while the present one is encoded, as far as the memory allows."""

import queue
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from extract.engine.job import Job, Setup
from extract.engine.reading import FileJob, Use, file_jobs
from extract.engine.trace import Trace
from extract.media import Clip
from extract.media.reader import Reader

WAIT = 10.0  # seconds after which whoever waits for a file is told that it is still being read
Turn = tuple[int, int]  # of a file: number of its shard, number in the shard


@dataclass
class Arrivals:
    """What is read for one job, in the order in which it comes.

    Attributes:
        shard: number of the job among those that were begun.
        files: all files of the job.
    """

    shard: int
    files: list[FileJob]
    queue: "queue.SimpleQueue[tuple[Use, Clip] | BaseException]" = field(default_factory=queue.SimpleQueue)

    @property
    def count(self) -> int:
        """How many clips will come."""
        return sum(len(file.uses) for file in self.files)


class Budget:
    """Bytes that were read and that nobody has taken yet: the limit at most, and one clip more.

    More than the limit is read only of the first file that is not read yet, a clip at a time, and only once everything
    that was read before it is taken: whoever takes may be waiting for just this.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._held: Counter[int] = Counter()  # by shard
        self._active: set[Turn] = set()
        self._changed = threading.Condition()

    @property
    def held(self) -> int:
        """How many they are."""
        return self._held.total()

    def begin(self, turn: Turn) -> None:
        """A file is to be read."""
        with self._changed:
            self._active.add(turn)

    def end(self, turn: Turn) -> None:
        """A file was read to its end."""
        with self._changed:
            self._active.discard(turn)
            self._changed.notify_all()

    def hold(self, turn: Turn, nbytes: int) -> None:
        """Wait until there is room for what was read of a file."""
        with self._changed:
            self._changed.wait_for(lambda: self.held + nbytes <= self._most or self._is_awaited(turn))
            if nbytes:
                self._held[turn[0]] += nbytes

    def release(self, shard: int, nbytes: int) -> None:
        """Somebody has taken what was read for a shard."""
        with self._changed:
            self._held[shard] -= nbytes
            if not self._held[shard]:
                del self._held[shard]
            self._changed.notify_all()

    def _is_awaited(self, turn: Turn) -> bool:
        return turn == min(self._active) and all(shard > turn[0] for shard in self._held)


class ReadAhead:
    """Reads the files of jobs in the order in which they come, each reader in a process of its own."""

    def __init__(self, setup: Setup, trace: Trace) -> None:
        self._setup, self._trace = setup, trace
        self._budget = Budget(setup.engine.memory * 1e6)
        self._files: deque[tuple[Turn, FileJob, Arrivals]] = deque()
        self._waiting = threading.Semaphore(0)
        self._jobs = 0
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(setup.engine.workers)
        ]
        if setup.root is not None:
            for thread in self._threads:
                thread.start()

    def begin(self, job: Job) -> Arrivals:
        """Read the files of a job once those before it are read."""
        if self._setup.root is None:
            return Arrivals(0, [])
        rows = {
            name: tuple(n for n in numbers if n not in job.unreadable) for name, numbers in job.rows.items()
        }
        self._jobs += 1
        arrivals = Arrivals(self._jobs, file_jobs(job.shard, rows, self._setup.features))
        for number, file in enumerate(arrivals.files):
            turn = (arrivals.shard, number)
            self._budget.begin(turn)
            self._files.append((turn, file, arrivals))
            self._waiting.release()
        return arrivals

    def take(self, arrivals: Arrivals) -> Iterator[tuple[Use, Clip] | None]:
        """What is read for a job; None now and then while nothing comes."""
        left = arrivals.count
        while left:
            try:
                arrived = arrivals.queue.get(timeout=WAIT)
            except queue.Empty:
                yield None
                continue
            if isinstance(arrived, BaseException):
                raise arrived
            self._budget.release(arrivals.shard, arrived[1].nbytes)
            left -= 1
            yield arrived

    def _work(self) -> None:
        with Reader(self._setup.read) as reader:
            while True:
                self._waiting.acquire()
                turn, file, arrivals = self._files.popleft()
                try:
                    self._read(reader, turn, file, arrivals)
                except Exception as error:  # a fault of ours; whoever waits must hear of it
                    arrivals.queue.put(error)
                finally:
                    self._budget.end(turn)

    def _read(self, reader: Reader, turn: Turn, file: FileJob, arrivals: Arrivals) -> None:
        assert self._setup.root is not None
        with self._trace.span("decode", file.path):
            for number, clip in reader.read(file.request(self._setup.root, self._setup.engine.limits)):
                self._budget.hold(turn, clip.nbytes)
                arrivals.queue.put((file.uses[number], clip))
