"""The lanes as the engine sees them: jobs go in, what came of them comes out; what dies or hangs is begun anew.

An accident costs what caused it, not the run. A job whose lane died is run once more, in a lane of its own; what ends
that, alone, is given up: rows whose faces cannot be found, or that cannot be encoded.
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
from extract.engine.job import Doing, Done, Job, Known, Setup
from extract.engine.worker import serve

AHEAD = 2  # jobs a lane holds: one that is worked on and one whose files are read meanwhile
GRACE = 60.0  # seconds beyond the limits before a lane counts as hanging: imports, loading of weights
START = Doing("start")


@dataclass
class _Lane:
    process: BaseProcess
    connection: Connection
    jobs: deque[Job] = field(default_factory=deque)
    features: set[str] = field(default_factory=set)
    last: Job | None = None
    doing: Doing = START
    since: float = field(default_factory=time.monotonic)


class Lanes:
    """Lanes, one process for each device given. Use as a context manager.

    Args:
        devices: torch devices; one may be named several times.
        known: payload of a unit, if it is known.
    """

    def __init__(self, setup: Setup, devices: Sequence[str], known: Callable[[str], bytes | None]) -> None:
        self._setup, self._devices, self._known = setup, devices, known
        self._lanes: list[_Lane] = []
        self._again: deque[Job] = deque()
        self._unborn = 0

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Work through jobs, in any order.

        Raises:
            WorkError: lanes do not start, or an encoder ends them while it is built.
        """
        waiting = list(jobs)
        lanes = min(len(self._devices), len(jobs))
        self._lanes = [self._open(device) for device in self._devices[:lanes]]
        while waiting or self._again or any(lane.jobs for lane in self._lanes):
            self._hand_out(waiting)
            for lane in self._ready():
                yield from self._hear(lane)
            self._end_the_hanging()

    def _open(self, device: str) -> _Lane:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        setup = replace(self._setup, device=device)
        process = context.Process(target=serve, args=(theirs, setup), daemon=True)
        process.start()
        theirs.close()
        return _Lane(process, ours)

    def _hand_out(self, waiting: list[Job]) -> None:
        """Give jobs to those that hold the fewest; one that is run with care goes to a lane of its own."""
        while self._again or waiting:
            lane = min(self._lanes, key=lambda x: len(x.jobs))
            careful = any(job.careful for job in lane.jobs)
            if len(lane.jobs) >= AHEAD or careful or (self._again and lane.jobs):
                return
            job = self._again.popleft() if self._again else waiting.pop(self._best(lane, waiting))
            lane.jobs.append(job)
            lane.last = job
            lane.features |= set(job.rows)
            try:
                lane.connection.send(job)
            except OSError:  # it has just died: `_hear` sees to it
                return

    def _best(self, lane: _Lane, waiting: Sequence[Job]) -> int:
        """A job whose encoders this lane has, else whose encoders nobody has: building them takes seconds."""
        built = set().union(*(other.features for other in self._lanes))
        mine = [n for n, job in enumerate(waiting) if lane.features >= set(job.rows)]
        new = [n for n, job in enumerate(waiting) if built.isdisjoint(job.rows)]
        choice = mine or new or list(range(len(waiting)))
        others = [other.last for other in self._lanes if other is not lane and other.last is not None]
        return choice[going_on([waiting[n] for n in choice], lane.last, others)]

    def _ready(self) -> list[_Lane]:
        by_connection = {lane.connection: lane for lane in self._lanes}
        return [by_connection[c] for c in wait(list(by_connection), timeout=1.0)]  # type: ignore[index]

    def _hear(self, lane: _Lane) -> Iterator[Done]:
        try:
            message = lane.connection.recv()
        except (EOFError, OSError):
            self._bury(lane, Missing(Reason.CRASH, "the process that worked on it died twice"))
            return
        lane.since = time.monotonic()
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, Known):
            found = {unit: self._known(unit) for unit in message.units}
            lane.connection.send({unit: payload for unit, payload in found.items() if payload is not None})
        elif isinstance(message, Doing):
            lane.doing = message
            self._unborn = 0
        else:
            done: Done = message
            lane.jobs.popleft()
            lane.doing = START
            yield done

    def _end_the_hanging(self) -> None:
        for lane in list(self._lanes):
            patience = GRACE + 4 * self._setup.engine.limits.seconds * max(1, len(lane.doing.rows))
            if lane.jobs and time.monotonic() - lane.since > patience:
                words = f"no answer within {patience:.0f} s, twice"
                self._bury(lane, Missing(Reason.TIMEOUT, words))

    def _bury(self, lane: _Lane, fault: Missing) -> None:
        """End a lane, take back its jobs and put another in its place."""
        lane.process.kill()
        lane.process.join()
        lane.connection.close()
        device = self._devices[self._lanes.index(lane)]
        if lane.doing == START and lane.jobs:
            self._unborn += 1
            if self._unborn > len(self._lanes):
                raise WorkError(
                    "the processes that encode do not start, or die at once",
                    hint="there may be too little memory; set engine.lanes: 1 in params.yaml",
                )
        first, *others = lane.jobs or [None]
        self._again.extend(job for job in others if job)
        if first is not None:
            self._again.append(chastened(first, lane.doing, fault))
        self._lanes[self._lanes.index(lane)] = self._open(device)

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.process.kill()
            lane.process.join()
            lane.connection.close()


def chastened(job: Job, doing: Doing, fault: Missing) -> Job:
    """A job after an accident: run with more care, or without what has caused accidents with care.

    Raises:
        WorkError: an encoder ended two lanes while it was built.
    """
    if not job.careful:
        return replace(job, careful=True)
    rows = doing.rows
    if doing.stage == "build":
        raise WorkError(
            f"{doing.feature}: its encoder cannot be built ({fault.detail})",
            hint="there may be too little memory; set engine.lanes: 1 in params.yaml",
        )
    if doing.stage == "read" or (doing.stage == "faces" and len(rows) == 1):
        return replace(job, unreadable={**job.unreadable, **dict.fromkeys(rows, fault)})
    if doing.stage == "faces":
        return replace(job, clip_by_clip=True)
    if doing.stage == "encode" and len(rows) > 1:
        return replace(job, apart=job.apart | {doing.feature})
    if doing.stage == "encode":
        return replace(job, hopeless={**job.hopeless, (doing.feature, rows[0]): fault})
    return job


def going_on(waiting: Sequence[Job], mine: Job | None, others: Sequence[Job]) -> int:
    """Which of the waiting jobs to take after another: a long recording is read on where it was left.

    Whoever finds only recordings that others are reading leaves them what they come to next, and takes the second half
    of the longest. The order changes no byte.

    Args:
        mine, others: the jobs that this worker and the others took last.
    """
    runs: list[list[int]] = []
    for n, job in enumerate(waiting):
        if runs and _goes_on(waiting[n - 1], job):
            runs[-1].append(n)
        else:
            runs.append([n])
    following = [run for run in runs if mine is not None and _goes_on(mine, waiting[run[0]])]
    free = [run for run in runs if not any(_goes_on(other, waiting[run[0]]) for other in others)]
    if following or free:
        return (following or free)[0][0]
    longest = max(runs, key=len)
    return longest[len(longest) // 2]


def _goes_on(job: Job, other: Job) -> bool:
    """Whether a job reads on in the file in which the one before it ends."""
    if other.number != job.number + 1 or not job.shard or not other.shard:
        return False
    before, after = ({ref.path for ref in (s.video, s.audio) if ref} for s in (job.shard[-1], other.shard[0]))
    return not before.isdisjoint(after)


def devices_of(device: str, lanes: int) -> list[str]:
    """The devices of the lanes: as many on a CPU as asked for, and one for each GPU."""
    if device == "cpu":
        return ["cpu"] * lanes
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
