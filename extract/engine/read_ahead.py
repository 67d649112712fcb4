"""Read the media files of a worker's next jobs while its current job is encoded, as far as memory allows."""

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
    """The clips that one job needs. They are put into a queue as they are read, and taken out by the worker.

    Attributes:
        shard: rank of the job in the order in which reading began.
        files: all files of the job.
        queue: clips that have been read and not taken yet; an exception if reading failed because of a bug in ercache.
    """

    shard: int
    files: list[FileRequest]
    queue: "queue.SimpleQueue[tuple[SpanUse, Clip] | BaseException]" = field(
        default_factory=queue.SimpleQueue
    )

    @property
    def count(self) -> int:
        """How many clips are read for this job in total."""
        return sum(len(file.uses) for file in self.files)


class MemoryBudget:
    """Limits the memory that clips take from when they are read until the worker takes them.

    A reading thread with a clip that does not fit has to wait. But a clip larger than the whole limit would wait for
    ever. So a clip of the first unfinished file need not wait once the worker has taken all earlier clips. In this way,
    at most one clip exceeds the limit.

    Args:
        max_bytes: the limit, bytes.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[int] = Counter()  # by shard
        self._active: set[FileOrder] = set()
        self._changed = threading.Condition()

    @property
    def held(self) -> int:
        """Size of all clips that have been read and that the worker has not taken yet, bytes."""
        return self._held.total()

    def begin(self, order: FileOrder) -> None:
        """Add a file to the unfinished files before it is read. Of these, the first one has priority for memory.

        Args:
            order: rank of the job, and number of the file in the job.
        """
        with self._changed:
            self._active.add(order)

    def end(self, order: FileOrder) -> None:
        """Remove a file from the unfinished files, because all its clips have been read.

        Args:
            order: rank of the job, and number of the file in the job.
        """
        with self._changed:
            self._active.discard(order)
            self._changed.notify_all()

    def wait_for_room(self, order: FileOrder, nbytes: int) -> None:
        """Wait until there is room for a clip, and count its bytes as memory in use.

        Args:
            order: the clip's file: rank of the job, and number of the file in the job.
            nbytes: size of the clip, bytes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.held + nbytes <= self._max_bytes or self._is_awaited(order))
            if nbytes:
                self._held[order[0]] += nbytes

    def release(self, shard: int, nbytes: int) -> None:
        """Subtract a clip from the memory in use, because the worker has taken it.

        Args:
            shard: rank of the clip's job.
            nbytes: size of the clip, bytes.
        """
        with self._changed:
            self._held[shard] -= nbytes
            if not self._held[shard]:
                del self._held[shard]
            self._changed.notify_all()

    def _is_awaited(self, order: FileOrder) -> bool:
        return order == min(self._active) and all(shard > order[0] for shard in self._held)


class ReadAhead:
    """Reads the media files of a worker's jobs, in the order of the jobs, with several threads.

    Each thread reads through a process of its own, so that a crash of a decoder does not stop the worker.

    Args:
        setup: settings of the worker: number of threads, memory, folder of the media.
        trace: log into which the begin and end of each file are written.
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
        """Add the files of a job to the reading queue, behind those of earlier jobs.

        Returns:
            The clips of the job; pass it to `clips` to take them out as they are read.
        """
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
        """Yield all clips of a job as they are read.

        Args:
            arrivals: the clips of the job, as `begin` returned them.

        Yields:
            (`SpanUse`, clip): for which input of the job the clip was read, and the clip. While no clip arrives, None
            every 10 seconds, so that the caller can show that it still waits.
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
