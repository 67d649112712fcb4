"""Progress where stderr is no terminal: a line now and then, so that a log tells work from a hang."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

EVERY: Final = 30.0  # seconds


class Tick(Protocol):
    """Tell how far the work named by `what` is."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


@dataclass
class _Work:
    """Something that is under way: since when (seconds), and how much was done then and now."""

    since: float
    first: int
    done: int
    total: int

    def told(self, now: float) -> str:
        """Done, all, rate, and the time left by that rate."""
        rate = (self.done - self.first) / (now - self.since) if now > self.since else 0.0
        if not rate:
            return f"{self.done}/{self.total}, {clock(now - self.since)} so far"
        speed = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f"{self.done}/{self.total}, {speed}, {clock((self.total - self.done) / rate)} left"


@contextmanager
def lines(write: Callable[[str], None], every: float = EVERY) -> Iterator[Tick]:
    """A function to be told what is done, how much of how many; a line is written each time that `every` s are over.

    Args:
        write: takes a line.
    """
    works: dict[str, _Work] = {}
    over = threading.Event()

    def tick(what: str, done: int, total: int) -> None:
        work = works.setdefault(what, _Work(time.monotonic(), done, done, total))
        work.done, work.total = done, total

    def report() -> None:
        while not over.wait(every):
            for what, work in list(works.items()):
                if work.done < work.total:
                    write(f"{what}: {work.told(time.monotonic())}")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield tick
    finally:
        over.set()
        thread.join()


def clock(seconds: float) -> str:
    """A duration as people read it: 0:07, 12:30, 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
