"""Progress messages when stderr is not a terminal: one line every 30 s, so that a log shows that the work goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

EVERY: Final = 30.0  # seconds


class ProgressReporter(Protocol):
    """Type of a function that reports the progress of a task.

    Its arguments are the name of the task, the number of finished items, and the number of all items.
    """

    def __call__(self, what: str, done: int, total: int) -> None: ...


@dataclass
class _Task:
    """Progress of one running task. Its rate and remaining time are computed from these values.

    Attributes:
        since: time of the first report, in seconds of the monotonic clock.
        first: number of finished items at the first report.
        done: number of finished items at the last report.
        total: number of all items.
    """

    since: float
    first: int
    done: int
    total: int

    def describe(self, now: float) -> str:
        """Describe the progress of the task in one line: finished items, all items, rate, and remaining time."""
        rate = (self.done - self.first) / (now - self.since) if now > self.since else 0.0
        if not rate:
            return f"{self.done}/{self.total}, {clock(now - self.since)} so far"
        speed = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f"{self.done}/{self.total}, {speed}, {clock((self.total - self.done) / rate)} left"


@contextmanager
def progress_lines(write: Callable[[str], None], every: float = EVERY) -> Iterator[ProgressReporter]:
    """Context manager: write one line per unfinished task every few seconds.

    Args:
        write: function that writes a line.
        every: seconds between lines.

    Yields:
        A `ProgressReporter`: the function that the work calls to report progress.
    """
    works: dict[str, _Task] = {}
    over = threading.Event()

    def tick(what: str, done: int, total: int) -> None:
        work = works.setdefault(what, _Task(time.monotonic(), done, done, total))
        work.done, work.total = done, total

    def report() -> None:
        while not over.wait(every):
            for what, work in list(works.items()):
                if work.done < work.total:
                    write(f"{what}: {work.describe(time.monotonic())}")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield tick
    finally:
        over.set()
        thread.join()


def clock(seconds: float) -> str:
    """Format a duration in seconds like 0:07, 12:30 or 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
