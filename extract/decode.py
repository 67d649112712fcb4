"""One pass of FFmpeg over a file: a process of its own with a clock, whose outputs arrive through pipes."""

import contextlib
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from io import FileIO
from pathlib import Path
from typing import Any, Final

import ffmpeg
import imageio_ffmpeg

from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.probe import FORMATS, LEAD, PROTOCOLS, Probe, location

Pipe = tuple[FileIO, FileIO]
Output = tuple[Any, dict[str, Any]]  # a stream of ffmpeg-python and the options of its output
_ERROR: Final = re.compile(r"\[(?:error|fatal|panic)\] ")


def decode(
    path: Path, facts: Probe, start: float | None, outputs_of: Callable[[Any], list[Output]], limits: Limits
) -> tuple[list[bytes], str]:
    """What FFmpeg writes to each output, and what it says.

    Args:
        start: seconds from the start of the file before which nothing is needed.
        outputs_of: given the input, the outputs.

    Raises:
        Missing: TIMEOUT.
    """
    before: dict[str, Any] = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "fflags": "+genpts",
        "threads": 1,
        "max_pixels": limits.pixels,
    }
    if start is not None and facts.seekable_to(start):
        before |= {"seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{start - LEAD + facts.origin:.6f}"}
    outputs = outputs_of(ffmpeg.input(location(path), **before))
    with contextlib.ExitStack() as pipes:
        ends = [_pipe(pipes) for _ in outputs]
        written = [
            ffmpeg.output(stream, f"pipe:{write.fileno()}", **options)
            for (stream, options), (_, write) in zip(outputs, ends, strict=True)
        ]
        command = (
            ffmpeg.merge_outputs(*written)
            .global_args("-nostdin", "-hide_banner", "-nostats", "-copyts", "-loglevel", "level+info")
            # Should this process be killed, nobody is left to watch the clock.
            .global_args("-timelimit", str(math.ceil(limits.seconds)))
            .compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
        )
        return _run(command, ends, limits.seconds)


def has_errors(said: str) -> bool:
    """Whether FFmpeg complained of more than a warning."""
    return _ERROR.search(said) is not None


def complaints(said: str, path: Path) -> str:
    """The last complaints, without addresses and without the machine's paths."""
    lines = [line for line in said.splitlines() if _ERROR.search(line)]
    told = "; ".join(re.sub(r" @ \w+", "", line) for line in lines[-3:])
    return told.replace(location(path), path.name).replace(str(path.absolute()), path.name)[:500]


def _pipe(stack: contextlib.ExitStack) -> Pipe:
    """Both ends as objects: a number closed twice may be another thread's by then."""
    read, write = os.pipe()
    return (
        stack.enter_context(open(read, "rb", buffering=0)),
        stack.enter_context(open(write, "wb", buffering=0)),
    )


def _run(command: list[str], ends: Sequence[Pipe], seconds: float) -> tuple[list[bytes], str]:
    deadline = time.monotonic() + seconds
    with (
        ThreadPoolExecutor(len(ends) + 1) as readers,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[write.fileno() for _, write in ends],
            start_new_session=True,  # a group of its own, which can be ended as one
        ) as process,
    ):
        for _, write in ends:
            write.close()
        assert process.stderr is not None
        said = readers.submit(process.stderr.read)
        outputs = [readers.submit(read.readall) for read, _ in ends]
        try:
            for future in (*outputs, said):
                _before(deadline, future)
            process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself just now
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, NotInTime | subprocess.TimeoutExpired):
                raise Missing(Reason.TIMEOUT, f"ffmpeg was ended after {seconds:g} s") from error
            raise
    return [output.result() for output in outputs], said.result().decode(errors="replace")


def _before(deadline: float, future: Future[bytes]) -> None:
    future.result(max(0.0, deadline - time.monotonic()))
