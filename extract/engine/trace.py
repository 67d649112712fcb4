"""A log of what the engine does when: one JSON line at the beginning and one at the end of each step."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Trace:
    """Writes the beginning and end of each step (decode, faces, encode, store, pack) to a file.

    Without a path it does nothing. Several processes may write to one file: they share the system clock, and each line
    is a single write.

    Args:
        path: path of the trace file.
        start: clock reading that counts as 0 s; None starts a new file with the current time as 0 s.
    """

    def __init__(self, path: Path | None = None, start: float | None = None) -> None:
        self.path, self.start = path, time.perf_counter() if start is None else start
        self._fd: int | None = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if start is None else 0)
            self._fd = os.open(path, flags, 0o644)

    @property
    def place(self) -> tuple[Path, float] | None:
        """Path and start time of the trace, with which another process can write to it; None without a trace."""
        return None if self.path is None else (self.path, self.start)

    def mark(self, stage: str, begins: bool, what: str = "") -> None:
        """Write one line to the trace: the time, the name of a step, and whether the step begins or ends now."""
        if self._fd is not None:
            seconds = round(time.perf_counter() - self.start, 6)
            row = {"seconds": seconds, "stage": stage, "event": "begin" if begins else "end", "what": what}
            os.write(self._fd, (json.dumps(row) + "\n").encode())

    @contextmanager
    def span(self, stage: str, what: str = "") -> Iterator[None]:
        """Write a line to the trace before and after the code in this `with` block: the step begins, the step ends."""
        self.mark(stage, True, what)
        try:
            yield
        finally:
            self.mark(stage, False, what)

    def close(self) -> None:
        """Close the trace file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
