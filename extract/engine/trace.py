"""A log that shows how long each step of an extraction takes: one JSON line when it begins, and one when it ends."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Trace:
    """Writes the beginning and end of each step (decode, faces, encode, store, pack) to a file.

    Without a path it does nothing. Several processes may write to the same file.

    Args:
        path: path of the trace file; None for no trace.
        start: reading of the clock (`time.perf_counter`) from which the seconds in the file are counted, to add to the
            trace of another process; None starts a new file, and counts from now.
    """

    def __init__(self, path: Path | None = None, start: float | None = None) -> None:
        self.path, self.start = path, time.perf_counter() if start is None else start
        self._fd: int | None = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if start is None else 0)
            self._fd = os.open(path, flags, 0o644)

    @property
    def place(self) -> tuple[Path, float] | None:
        """Path and start time of the trace, from which another process can make a `Trace` of the same file.

        None if there is no trace.
        """
        return None if self.path is None else (self.path, self.start)

    def mark(self, stage: str, begins: bool, what: str = "") -> None:
        """Write one line to the trace: the time, and which step begins or ends now.

        Args:
            stage: the step (decode, faces, encode, store, pack).
            begins: whether the step begins now; otherwise it ends.
            what: on what the step works, for example a file or a feature.
        """
        if self._fd is not None:
            seconds = round(time.perf_counter() - self.start, 6)
            row = {"seconds": seconds, "stage": stage, "event": "begin" if begins else "end", "what": what}
            os.write(self._fd, (json.dumps(row) + "\n").encode())

    @contextmanager
    def span(self, stage: str, what: str = "") -> Iterator[None]:
        """Context manager for a step: write a line to the trace at the beginning and at the end of the `with` block.

        Args:
            stage: the step (decode, faces, encode, store, pack).
            what: on what the step works, for example a file or a feature.
        """
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
