"""The worker processes as the engine sees them: jobs go in, results come out.

A worker that dies or hangs is replaced. A crash costs only the input that caused it, not the run. A job whose worker
died runs once more, in a worker without other jobs. If that worker dies as well, only the inputs fail that it was
reading, detecting faces in, or encoding.
"""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ercache.errors import WorkError
from ercache.reasons import Missing, Reason
from extract.engine.job import Activity, JobResult, KnownUnitsQuery, WorkerJob, WorkerSetup
from extract.engine.worker import run_worker

JOBS_PER_WORKER = 2  # one job in progress, and one whose files are read in the meantime
GRACE_SECONDS = 60.0  # time beyond the limits before a worker counts as hanging: imports, loading of weights
STARTING = Activity("start")


@dataclass
class _WorkerHandle:
    """A worker process and what the engine knows about it.

    Attributes:
        process: the process.
        connection: the engine's end of the pipe.
        jobs: unfinished jobs of the worker, in order.
        features: features whose encoders the worker has built or will build.
        last_job: the job that the worker got last.
        activity: what the worker announced last.
        last_message: time of the worker's last message (`time.monotonic`).
    """

    process: BaseProcess
    connection: Connection
    jobs: deque[WorkerJob] = field(default_factory=deque)
    features: set[str] = field(default_factory=set)
    last_job: WorkerJob | None = None
    activity: Activity = STARTING
    last_message: float = field(default_factory=time.monotonic)


class WorkerPool:
    """Worker processes, one for each given device. Use it as a context manager.

    Args:
        setup: settings that all jobs have in common.
        devices: torch devices; a device named twice gets two workers.
        look_up: takes a key and returns the stored result, or None if there is none.
    """

    def __init__(
        self, setup: WorkerSetup, devices: Sequence[str], look_up: Callable[[str], bytes | None]
    ) -> None:
        self._setup, self._devices, self._look_up = setup, devices, look_up
        self._workers: list[_WorkerHandle] = []
        self._retries: deque[WorkerJob] = deque()
        self._failed_starts = 0

    def run(self, jobs: Sequence[WorkerJob]) -> Iterator[JobResult]:
        """Run all jobs, and yield each result when it is ready, in any order.

        Raises:
            WorkError: the workers do not start, or they die while they build an encoder.
        """
        waiting = list(jobs)
        lanes = min(len(self._devices), len(jobs))
        self._workers = [self._open(device) for device in self._devices[:lanes]]
        while waiting or self._retries or any(worker.jobs for worker in self._workers):
            self._assign_jobs(waiting)
            for worker in self._ready():
                yield from self._receive(worker)
            self._end_hanging_workers()

    def _open(self, device: str) -> _WorkerHandle:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        setup = replace(self._setup, device=device)
        process = context.Process(target=run_worker, args=(theirs, setup), daemon=True)
        process.start()
        theirs.close()
        return _WorkerHandle(process, ours)

    def _assign_jobs(self, waiting: list[WorkerJob]) -> None:
        """Give each job to the worker with the fewest jobs.

        A job that is repeated after a crash gets a worker of its own.
        """
        while self._retries or waiting:
            worker = min(self._workers, key=lambda x: len(x.jobs))
            isolated = any(job.isolated for job in worker.jobs)
            if len(worker.jobs) >= JOBS_PER_WORKER or isolated or (self._retries and worker.jobs):
                return
            job = self._retries.popleft() if self._retries else waiting.pop(self._best(worker, waiting))
            worker.jobs.append(job)
            worker.last_job = job
            worker.features |= set(job.rows)
            try:
                worker.connection.send(job)
            except OSError:  # the worker has just died; `_receive` handles it
                return

    def _best(self, worker: _WorkerHandle, waiting: Sequence[WorkerJob]) -> int:
        """Return the index of the waiting job that a worker should get next.

        Jobs whose encoders this worker has already built come first, then jobs whose encoders no worker has built,
        then all others: building an encoder takes seconds. Among several such jobs, `next_job` chooses.
        """
        built = set().union(*(other.features for other in self._workers))
        mine = [n for n, job in enumerate(waiting) if worker.features >= set(job.rows)]
        new = [n for n, job in enumerate(waiting) if built.isdisjoint(job.rows)]
        choice = mine or new or list(range(len(waiting)))
        others = [
            other.last_job for other in self._workers if other is not worker and other.last_job is not None
        ]
        return choice[next_job([waiting[n] for n in choice], worker.last_job, others)]

    def _ready(self) -> list[_WorkerHandle]:
        by_connection = {worker.connection: worker for worker in self._workers}
        return [by_connection[c] for c in wait(list(by_connection), timeout=1.0)]  # type: ignore[index]

    def _receive(self, worker: _WorkerHandle) -> Iterator[JobResult]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace_worker(
                worker, Missing(Reason.CRASH, "the worker process died twice at this utterance")
            )
            return
        worker.last_message = time.monotonic()
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, KnownUnitsQuery):
            found = {unit: self._look_up(unit) for unit in message.units}
            worker.connection.send({unit: payload for unit, payload in found.items() if payload is not None})
        elif isinstance(message, Activity):
            worker.activity = message
            self._failed_starts = 0
        else:
            done: JobResult = message
            worker.jobs.popleft()
            worker.activity = STARTING
            yield done

    def _end_hanging_workers(self) -> None:
        for worker in list(self._workers):
            patience = GRACE_SECONDS + 4 * self._setup.engine.limits.seconds * max(
                1, len(worker.activity.rows)
            )
            if worker.jobs and time.monotonic() - worker.last_message > patience:
                words = f"no answer within {patience:.0f} s, twice"
                self._replace_worker(worker, Missing(Reason.TIMEOUT, words))

    def _replace_worker(self, worker: _WorkerHandle, fault: Missing) -> None:
        """Kill a worker, take back its jobs and start another worker in its place."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        device = self._devices[self._workers.index(worker)]
        if worker.activity == STARTING and worker.jobs:
            self._failed_starts += 1
            if self._failed_starts > len(self._workers):
                raise WorkError(
                    "the worker processes do not start, or die at once",
                    hint="the machine may have too little memory; set engine.lanes: 1 in params.yaml",
                )
        first, *others = worker.jobs or [None]
        self._retries.extend(job for job in others if job)
        if first is not None:
            self._retries.append(degraded(first, worker.activity, fault))
        self._workers[self._workers.index(worker)] = self._open(device)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()


def degraded(job: WorkerJob, activity: Activity, fault: Missing) -> WorkerJob:
    """Return the job that replaces a job whose worker crashed or hung.

    After the first crash, the same job runs again in a worker without other jobs. After another crash, the job changes
    at the step at which the worker died: a batch is encoded one input at a time, or faces are detected one clip at a
    time. Inputs that were being read, and an input that crashed a worker alone, are marked as failed.

    Args:
        job: the job whose worker died or hung.
        activity: what the worker had announced last.
        fault: the failure that is recorded for inputs that caused the crash.

    Raises:
        WorkError: two workers died while they built the same encoder.
    """
    if not job.isolated:
        return replace(job, isolated=True)
    rows = activity.rows
    if activity.stage == "build":
        raise WorkError(
            f"{activity.feature}: its encoder cannot be built ({fault.detail})",
            hint="the machine may have too little memory; set engine.lanes: 1 in params.yaml",
        )
    if activity.stage == "read" or (activity.stage == "faces" and len(rows) == 1):
        return replace(job, unreadable_rows={**job.unreadable_rows, **dict.fromkeys(rows, fault)})
    if activity.stage == "faces":
        return replace(job, faces_clip_by_clip=True)
    if activity.stage == "encode" and len(rows) > 1:
        return replace(job, run_singly=job.run_singly | {activity.feature})
    if activity.stage == "encode":
        return replace(job, failed_rows={**job.failed_rows, (activity.feature, rows[0]): fault})
    return job


def next_job(waiting: Sequence[WorkerJob], mine: WorkerJob | None, others: Sequence[WorkerJob]) -> int:
    """Choose the waiting job that a worker takes next, to save reading time; the choice does not change any result.

    Successive jobs may read the same long recording. The worker takes the job that continues the recording of its last
    job, or else the first job of a recording that no other worker is reading. If there is neither, it takes a job from
    the middle of the recording with the most waiting jobs; another worker is still reading the first half.

    Args:
        waiting: the waiting jobs.
        mine: the job that this worker took last; None if it has had none.
        others: the job that each other worker took last.

    Returns:
        Index of the chosen job in `waiting`.
    """
    runs: list[list[int]] = []
    for n, job in enumerate(waiting):
        if runs and _continues_recording(waiting[n - 1], job):
            runs[-1].append(n)
        else:
            runs.append([n])
    following = [run for run in runs if mine is not None and _continues_recording(mine, waiting[run[0]])]
    free = [run for run in runs if not any(_continues_recording(other, waiting[run[0]]) for other in others)]
    if following or free:
        return (following or free)[0][0]
    longest = max(runs, key=len)
    return longest[len(longest) // 2]


def _continues_recording(job: WorkerJob, other: WorkerJob) -> bool:
    """Return whether a job starts in the media file in which the previous job ends."""
    if other.number != job.number + 1 or not job.shard or not other.shard:
        return False
    before, after = ({ref.path for ref in (s.video, s.audio) if ref} for s in (job.shard[-1], other.shard[0]))
    return not before.isdisjoint(after)


def devices_of(device: str, lanes: int) -> list[str]:
    """Return the device of each worker: the CPU `lanes` times, or each GPU once."""
    if device == "cpu":
        return ["cpu"] * lanes
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
