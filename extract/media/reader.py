"""Reading media in a process of its own, which lives as long as it is needed and is begun anew when it dies or hangs.

What a dying process had sent is whole and kept; what it was at is tried once more, alone, and given up when that ends a
process again. How every process ended is looked at: nothing that was cut off passes for the end of a file.
"""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ercache.reasons import Missing, Reason
from extract.media.clip import Clip, nothing
from extract.media.container import SLOWEST
from extract.media.scanned import Read, Request, read_scanned

START: Final = 60.0  # seconds within which a process has begun and imported what it needs


class Reader:
    """A process that reads files, one request after the other. Use as a context manager.

    Args:
        function: what answers a request, in that process.
    """

    def __init__(self, function: Read = read_scanned) -> None:
        self._function = function
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None

    def read(self, request: Request) -> Iterator[tuple[int, Clip]]:
        """Number and clip of each stretch of a file, as soon as it is read."""
        left = dict(enumerate(request.stretches))
        died = ""
        while left:
            # After a death nobody knows which stretch is to blame: each alone.
            numbers = list(left) if not died else list(left)[:1]
            before = len(left)
            try:
                some = tuple(left[n] for n in numbers)
                for n, clip in self._attempt(replace(request, stretches=some)):
                    del left[numbers[n]]
                    yield numbers[n], clip
                for number in [n for n in numbers if n in left]:
                    yield (
                        number,
                        nothing(left.pop(number), Missing(Reason.FAULT, "the reader gave no answer")),
                    )
            except _Died as error:
                if died and len(left) == before:
                    stretch = left.pop(numbers[0])
                    words = f"the process that decoded it {error}, twice"
                    yield numbers[0], nothing(stretch, Missing(Reason.CRASH, words))
                died = str(error)
            except _Hangs as error:
                for number, stretch in left.items():
                    yield number, nothing(stretch, Missing(Reason.TIMEOUT, str(error)))
                return

    def _attempt(self, request: Request) -> Iterator[tuple[int, Clip]]:
        patience = START + request.limits.seconds + _size(request.root / request.path) / SLOWEST
        try:
            if self._process is None:
                self._start()
            self._connection.send((self._function, request))
            while True:
                if not self._connection.poll(patience):
                    raise _Hangs(f"no sign of life from the decoder within {patience:.0f} s")
                message = pickle.loads(self._connection.recv_bytes())
                if message == "done":
                    return
                if message is not None:
                    yield message
        except (EOFError, OSError) as error:
            raise _Died(self._end()) from error
        except BaseException:  # a hang, or whoever listened went away in the middle
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
        """End the process, if it has not ended; how it did."""
        if self._process is None:
            return "did not start"
        self._connection.close()
        try:
            code = self._process.wait(1.0)  # it has closed its end: it is dying
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return f"was killed by {_name_of(-code)}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Died(Exception):
    """The process ended in the middle of a request."""


class _Hangs(Exception):
    """The process gives no sign of life."""


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have none
        return f"signal {number}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the process itself says what is wrong with it
        return 0
