"""Run `ercache` with an additional encoder: `python -m tests.support.hostile_run extract ...`.

The encoder `visual/thumbs` stores a small copy and the time of each picture, so the cache shows which pictures were
read.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample
from extract.media.types import PictureRequest, PictureRule
from tests.support.hostile_truth import THUMB, thumb_of

ROOT = Path(__file__).parents[2]


class ThumbsParams(Strict):
    """Params of the encoder: which pictures to read, and how many."""

    count: int
    rule: PictureRule = "spread"


class Thumbs:
    """Encoder that stores small copies of pictures, and their times."""

    spec: ClassVar[EncoderSpec] = EncoderSpec("visual/thumbs", "visual", "small copies", "one", 1, "MIT")
    Params: ClassVar[type[BaseModel]] = ThumbsParams

    def __init__(self, params: ThumbsParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: ThumbsParams) -> Input:
        return Input(pictures=PictureRequest(params.count, rule=params.rule))

    @staticmethod
    def arrays(params: ThumbsParams) -> tuple[ArraySpec, ...]:
        return (
            ArraySpec("thumbs", "sequence", ("picture", "y", "x", "rgb"), (THUMB[1], THUMB[0], 3), "uint8"),
            ArraySpec("times", "sequence", ("picture",), (), "float64", "s"),
        )

    def length(self, sample: Sample) -> int:
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded | Missing:
        if not sample.frames:
            return Missing(Reason.NO_VIDEO)
        thumbs = np.stack([thumb_of(frame.image) for frame in sample.frames])
        times = np.array([frame.time for frame in sample.frames], np.float64)
        return Encoded({"thumbs": thumbs, "times": times}, len(times))


@dataclass
class Watched:
    """Result of a command, and the largest resource use of its processes.

    Attributes:
        rss_mb: largest memory of all processes together, in MB.
        fds: largest number of open files in one process.
        left: processes that still existed five seconds after the command ended.
        shared: files in shared memory that the processes used and left behind.
    """

    code: int
    out: str
    err: str
    seconds: float
    rss_mb: float = 0.0
    fds: int = 0
    left: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)


def watched(folder: Path, environment: dict[str, str], *arguments: str, limit: float) -> Watched:
    """Run `ercache` with the additional encoder, watch its processes, and kill it after the time limit."""
    command = [sys.executable, "-m", "tests.support.hostile_run", *arguments]
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    with (folder / "out.txt").open("w+b") as out, (folder / "err.txt").open("w+b") as err:
        began = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "PYTHONPATH": path},
            stdout=out,
            stderr=err,
            start_new_session=True,
        ) as process:
            rss, fds, shared, seen = 0.0, 0, set[str](), set[Any]()
            while process.poll() is None and time.monotonic() - began < limit:
                members = family(process.pid)
                seen |= set(members)
                rss = max(rss, sum(map(resident, members)) / 1e6)
                for member in members:
                    names = opened_by(member.pid)
                    fds = max(fds, len(names))
                    shared |= {name for name in names if name.startswith("/dev/shm/")}
                time.sleep(0.2)
            seconds = time.monotonic() - began
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    words = [(folder / name).read_text(errors="replace") for name in ("out.txt", "err.txt")]
    left = remaining(seen)
    here = [name for name in shared if os.path.exists(name)]
    return Watched(process.returncode, *words, seconds, rss, fds, left, here)


def remaining(processes: Iterable[Any], patience: float = 5.0) -> list[str]:
    """Wait some seconds for processes to end. Return the names of those that still exist."""
    deadline = time.monotonic() + patience
    while left := [process for process in processes if alive(process)]:
        if time.monotonic() > deadline:
            return [str(process) for process in left]
        time.sleep(0.1)
    return []


def alive(process: Any) -> bool:
    """Whether a process is still running (its id is not reused, and it is no zombie)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[Any]:
    """A process and all its descendants, also those in other sessions. Empty if the process has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident(process: Any) -> int:
    """Memory of a process in bytes; 0 if it has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def opened_by(pid: int) -> list[str]:
    """Names of the open files of a process. Empty if it has just ended."""
    names: list[str] = []
    with contextlib.suppress(OSError):  # it ended while it was looked at
        names += (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return names


if __name__ == "__main__":
    from app.cli import main
    from extract.encoders import ENCODERS
    from tests.support.hostile_run import Thumbs as Known  # under the name by which lanes find it

    ENCODERS.known[Known.spec.key] = Known
    main()
