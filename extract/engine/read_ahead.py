"""Read the media files of the next jobs while the current job is encoded, as far as memory allows."""

import queue
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from extract.engine.job import WorkerJob, WorkerSetup
from extract.engine.reading import FileRequest, SpanUse, file_requests
from extract.engine.trace import Trace
from extract.media import Clip
from extract.media.reader import MediaReader

WAIT_SECONDS = 10.0  # time after which a waiting worker learns that its file is still being read
FileOrder = tuple[int, int]  # number of the shard, number of the file within the shard


@dataclass
class ArrivingClips:
    """The clips of one job, in the order in which they are read.

    Attributes:
        shard: rank of the job in the order in which reading began.
        files: all files of the job.
        queue: clips that have been read, or the exception that stopped the reading thread.
    """

    shard: int
    files: list[FileRequest]
    queue: "queue.SimpleQueue[tuple[SpanUse, Clip] | BaseException]" = field(
        default_factory=queue.SimpleQueue
    )

    @property
    def count(self) -> int:
        """How many clips this job will deliver in total."""
        return sum(len(file.uses) for file in self.files)


class MemoryBudget:
    """Limits the memory of clips that are read but not yet taken by a worker: at most the limit, plus one clip.

    A clip that does not fit has to wait. The exception is the next clip of the oldest file that is still being read: it
    is let in once the workers have taken everything else. Otherwise a clip larger than the limit would wait forever.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[int] = Counter()  # by shard
        self._active: set[FileOrder] = set()
        self._changed = threading.Condition()

    @property
    def held(self) -> int:
        """Bytes of the clips that have been read and that no worker has taken yet."""
        return self._held.total()

    def begin(self, order: FileOrder) -> None:
        """Add a file to the unfinished files, before it is read; the first of these has priority for memory."""
        with self._changed:
            self._active.add(order)

    def end(self, order: FileOrder) -> None:
        """Remove a file from the unfinished files, because it has been read to the end."""
        with self._changed:
            self._active.discard(order)
            self._changed.notify_all()

    def wait_for_room(self, order: FileOrder, nbytes: int) -> None:
        """Wait until the memory limit has room for a clip of a file, and count the clip's bytes."""
        with self._changed:
            self._changed.wait_for(lambda: self.held + nbytes <= self._max_bytes or self._is_awaited(order))
            if nbytes:
                self._held[order[0]] += nbytes

    def release(self, shard: int, nbytes: int) -> None:
        """Subtract the bytes of a clip from the memory in use, because a worker has taken the clip."""
        with self._changed:
            self._held[shard] -= nbytes
            if not self._held[shard]:
                del self._held[shard]
            self._changed.notify_all()

    def _is_awaited(self, order: FileOrder) -> bool:
        return order == min(self._active) and all(shard > order[0] for shard in self._held)


class ReadAhead:
    """Reads the media files of jobs, in the order of the jobs, with several threads.

    Each thread uses one reader process.
    """

    def __init__(self, setup: WorkerSetup, trace: Trace) -> None:
        self._setup, self._trace = setup, trace
        self._budget = MemoryBudget(setup.engine.memory * 1e6)
        self._files: deque[tuple[FileOrder, FileRequest, ArrivingClips]] = deque()
        self._files_waiting = threading.Semaphore(0)
        self._job_count = 0
        self._threads = [
            threading.Thread(target=self._read_files, daemon=True) for _ in range(setup.engine.workers)
        ]
        if setup.root is not None:
            for thread in self._threads:
                thread.start()

    def begin(self, job: WorkerJob) -> ArrivingClips:
        """Add the files of a job to the reading queue, behind those of earlier jobs."""
        if self._setup.root is None:
            return ArrivingClips(0, [])
        rows = {
            name: tuple(n for n in numbers if n not in job.unreadable_rows)
            for name, numbers in job.rows.items()
        }
        self._job_count += 1
        arrivals = ArrivingClips(self._job_count, file_requests(job.shard, rows, self._setup.features))
        for number, file in enumerate(arrivals.files):
            order = (arrivals.shard, number)
            self._budget.begin(order)
            self._files.append((order, file, arrivals))
            self._files_waiting.release()
        return arrivals

    def clips(self, arrivals: ArrivingClips) -> Iterator[tuple[SpanUse, Clip] | None]:
        """Yield (`SpanUse`, clip) for all clips of a job as they are read. `SpanUse` says for which input a clip is.

        While no clip arrives, yield None every 10 seconds, so that the caller can show that it still waits.
        """
        left = arrivals.count
        while left:
            try:
                arrived = arrivals.queue.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(arrived, BaseException):
                raise arrived
            self._budget.release(arrivals.shard, arrived[1].nbytes)
            left -= 1
            yield arrived

    def _read_files(self) -> None:
        with MediaReader(self._setup.read) as reader:
            while True:
                self._files_waiting.acquire()
                order, file, arrivals = self._files.popleft()
                try:
                    self._read(reader, order, file, arrivals)
                except Exception as error:  # a bug in ercache; the waiting worker must get it
                    arrivals.queue.put(error)
                finally:
                    self._budget.end(order)

    def _read(
        self, reader: MediaReader, order: FileOrder, file: FileRequest, arrivals: ArrivingClips
    ) -> None:
        assert self._setup.root is not None
        with self._trace.span("decode", file.path):
            for number, clip in reader.read(file.request(self._setup.root, self._setup.engine.limits)):
                self._budget.wait_for_room(order, clip.nbytes)
                arrivals.queue.put((file.uses[number], clip))
