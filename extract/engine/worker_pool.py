"""Distribute jobs to worker processes, collect their results, and replace workers that die or hang.

A crash costs only the inputs (utterances) that may have caused it, not the run. A job whose worker died runs once more,
in a worker without other jobs. If this worker dies as well, the step at which it died is repeated with one input at a
time. Inputs at which a worker dies even then are recorded as failed.
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
        connection: the engine's end of the pipe to the worker.
        jobs: unfinished jobs of the worker, in order.
        features: features whose encoders the worker has built or will build.
        last_job: the job that the worker got last; None if it has had none.
        activity: the step that the worker has announced last.
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
    """Runs jobs in worker processes, one for each given device. Use it as a context manager.

    Args:
        setup: settings that all jobs have in common.
        devices: torch devices; a device named twice gets two workers.
        look_up: function that takes a key and returns the result in the store, or None if the store lacks it.
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
        """Give jobs to the workers, always to the one with the fewest jobs; each gets at most two.

        A job that is repeated after a crash gets a worker of its own, and is given out before all others.

        Args:
            waiting: jobs that no worker has got yet; those given out are removed.
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

        Building an encoder takes seconds. So the first choice are jobs whose encoders this worker has already built,
        then jobs whose encoders no worker has built, then all others. From several equally good jobs, `next_job`
        chooses.
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
        """Kill a worker, start another one in its place, and put its jobs on the list of jobs to repeat.

        Args:
            worker: the worker, which died or hangs.
            fault: the failure to record if an input makes workers die again and again.

        Raises:
            WorkError: several workers in a row died before their first step, or two while they built the same encoder.
        """
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
    """Return the job to run instead of a job whose worker died or hung.

    After the first death, it is the same job, for a worker without other jobs. After another death, it depends on the
    step at which the worker died:

    - encoding a batch: this feature is encoded one input at a time;
    - detecting faces in several clips: faces are detected in one clip at a time;
    - encoding one input, or detecting faces in one clip: this input is marked as failed;
    - reading: all inputs whose media were not completely read are marked as failed.

    Args:
        job: the job whose worker died or hung.
        activity: the step that the worker had announced last.
        fault: the failure that is recorded for inputs marked as failed.

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

    Several successive jobs may read the same long recording. The first of these rules that applies chooses:

    1. the job that continues the recording that this worker read last;
    2. the first job of a recording that no other worker is reading;
    3. a job from the middle of the recording with the most waiting jobs, whose first half another worker is reading.

    Args:
        waiting: the jobs that no worker has got yet, in their order.
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
    """Return whether `other` is the job after `job`, and starts in the media file in which `job` ends."""
    if other.number != job.number + 1 or not job.shard or not other.shard:
        return False
    before, after = ({ref.path for ref in (s.video, s.audio) if ref} for s in (job.shard[-1], other.shard[0]))
    return not before.isdisjoint(after)


def devices_of(device: str, lanes: int) -> list[str]:
    """Return the torch device of each worker process.

    Args:
        device: `cpu` gives `lanes` workers; `cuda` gives one worker for each GPU; any other device gives one worker.
        lanes: number of workers on the CPU.
    """
    if device == "cpu":
        return ["cpu"] * lanes
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
