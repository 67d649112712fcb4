"""Read media in a separate process, which is started when needed and replaced when it dies or hangs.

Clips that a dying process has already sent are complete and are kept. The time span that it was reading is tried once
more, alone. If this kills a second process, the span fails with the reason `crash`. The exit status of every process is
checked, so that a crash is never mistaken for the end of a file.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ercache.reasons import Missing, Reason
from extract.media.clip import Clip, failed_clip
from extract.media.container import MIN_BYTES_PER_SECOND
from extract.media.messages import receive
from extract.media.scanned import ReadFunction, ReadRequest, read_scanned

START_SECONDS: Final = 60.0  # time within which a process has started and imported its modules


class MediaReader:
    """Reads media files in a separate process, one request after the other, so that a crash stops only this process.

    Use it as a context manager: at the end of the `with` block, the process ends.

    Args:
        function: function that answers a request inside the process; by default it reads the file of the request.
    """

    def __init__(self, function: ReadFunction = read_scanned) -> None:
        self._function = function
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None

    def read(self, request: ReadRequest) -> Iterator[tuple[int, Clip]]:
        """Yield (index of the span, clip) for each requested time span of a file, as soon as it is read.

        A span that cannot be read gives a clip that says why, also if the process died or hung.
        """
        left = dict(enumerate(request.spans))
        died = ""
        while left:
            # After a crash the guilty span is unknown, so each is read alone.
            numbers = list(left) if not died else list(left)[:1]
            before = len(left)
            try:
                some = tuple(left[n] for n in numbers)
                for n, clip in self._attempt(replace(request, spans=some)):
                    del left[numbers[n]]
                    yield numbers[n], clip
                for number in [n for n in numbers if n in left]:
                    yield (
                        number,
                        failed_clip(
                            left.pop(number), Missing(Reason.FAULT, "the reading process gave no answer")
                        ),
                    )
            except _ProcessDied as error:
                if died and len(left) == before:
                    span = left.pop(numbers[0])
                    words = f"the process that decoded it {error}, twice"
                    yield numbers[0], failed_clip(span, Missing(Reason.CRASH, words))
                died = str(error)
            except _ProcessHangs as error:
                for number, span in left.items():
                    yield number, failed_clip(span, Missing(Reason.TIMEOUT, str(error)))
                return

    def _attempt(self, request: ReadRequest) -> Iterator[tuple[int, Clip]]:
        patience = (
            START_SECONDS + request.limits.seconds + _size(request.root / request.path) / MIN_BYTES_PER_SECOND
        )
        try:
            if self._process is None:
                self._start()
            self._connection.send((self._function, request))
            while True:
                message = receive(self._connection, patience)
                if message == "done":
                    return
                if message is not None:
                    yield message
        except TimeoutError as error:
            self._end()
            raise _ProcessHangs(f"no sign of life from the decoder within {patience:.0f} s") from error
        except (EOFError, OSError) as error:
            raise _ProcessDied(self._end()) from error
        except BaseException:  # the consumer stopped in the middle
            self._end()
            raise

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "extract.media.process", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._connection = ours

    def _end(self) -> str:
        """End the reading process if it still runs; return how it ended, for example `was killed by SIGSEGV`."""
        if self._process is None:
            return "did not start"
        self._connection.close()
        try:
            code = self._process.wait(1.0)  # it has closed its end of the pipe, so it is ending
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return f"was killed by {_name_of(-code)}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End the reading process at once, without waiting for the file that it reads."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def __enter__(self) -> "MediaReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ProcessDied(Exception):
    """Raised when the reading process ended before it had answered a request; the text says how it ended."""


class _ProcessHangs(Exception):
    """Raised when the reading process has sent neither a clip nor a sign of life for too long."""


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have none
        return f"signal {number}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the process itself reports what is wrong with the file
        return 0
