"""A trace of the engine: one JSON line at the beginning and end of each span, written through at once."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class Trace:
    """Writes spans of the stages decode, faces, encode, store and pack; without a path it does nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._start = time.perf_counter()
        self._stream: IO[str] | None = path.open("w", encoding="utf-8", buffering=1) if path else None

    def mark(self, stage: str, begins: bool, what: str = "") -> None:
        """Note that a span begins or ends."""
        if self._stream is not None:
            seconds = round(time.perf_counter() - self._start, 6)
            row = {"seconds": seconds, "stage": stage, "event": "begin" if begins else "end", "what": what}
            self._stream.write(json.dumps(row) + "\n")

    @contextmanager
    def span(self, stage: str, what: str = "") -> Iterator[None]:
        """Note the beginning and the end of a block."""
        self.mark(stage, True, what)
        try:
            yield
        finally:
            self.mark(stage, False, what)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
