"""Show the progress of training runs on stderr: a live table with one row per run, or lines if it is no terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.console import say
from app.progress_lines import clock, progress_lines

if TYPE_CHECKING:  # the training loop imports torch, which --help must not wait for
    from ercache.training.loop import EpochReport

REFRESH: Final = 4  # times a second
FRAME: Final = 4  # lines of the terminal without rows: two of header, one about hidden rows, the prompt
BAR: Final = 12  # width of a bar, characters
NARROW: Final = 100  # terminals with fewer columns show no bars

ShowEpoch = Callable[[str, "EpochReport"], None]


@dataclass
class _TrainingRow:
    """A row of the table: one training run.

    Attributes:
        what: name of the training run.
        epoch: scores of its last finished epoch, and the best epoch so far.
        since: time at which its first epoch was reported, in seconds of the monotonic clock.
        first: number of this epoch.
        now: time at which its last epoch was reported, in seconds of the monotonic clock.
    """

    what: str
    epoch: "EpochReport"
    since: float
    first: int
    now: float

    @property
    def rate(self) -> float | None:
        """Speed of the training run in epochs per second. None before the second reported epoch."""
        done, took = self.epoch.number - self.first, self.now - self.since
        return done / took if done and took > 0 else None


@contextmanager
def training_table() -> Iterator[ShowEpoch]:
    """Context manager: show the live table of training runs. It stays on the screen at the end, also after Ctrl-C.

    Yields:
        A function to call after every epoch, with the name of the training run and an `EpochReport` of its last epoch.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        with progress_lines(say) as tick:
            yield lambda what, epoch: tick(f"{what}, epoch", epoch.number, _last(epoch))
        return
    rows: dict[str, _TrainingRow] = {}

    def watch(what: str, epoch: "EpochReport") -> None:
        now = monotonic()
        row = rows.setdefault(what, _TrainingRow(what, epoch, now, epoch.number, now))
        row.epoch, row.now = epoch, now

    def shown() -> RenderableType:
        return _table(list(rows.values()), console.height - FRAME, console.width >= NARROW)

    with Live(console=console, get_renderable=shown, refresh_per_second=REFRESH) as live:
        try:
            yield watch
        finally:
            live.transient = not rows  # without any epoch, leave no empty table


def _table(rows: Sequence[_TrainingRow], room: int, bars: bool) -> RenderableType:
    """Draw the table: all unfinished training runs, and as many of the last finished ones as fit on the screen.

    Args:
        rows: all training runs.
        room: number of rows that fit on the screen.
        bars: whether to show a progress bar in each row.
    """
    if not rows:
        return Text("waiting for the first epoch", style="dim")
    running = sum(not row.epoch.finished for row in rows)
    kept = max(1, room - running)
    done = [row for row in rows if row.epoch.finished]
    hidden = {row.what for row in done[: max(0, len(done) - kept)]}
    out = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    out.add_column("\ntraining", overflow="ellipsis", no_wrap=True)
    out.add_column("\nepoch", justify="right", no_wrap=True)
    if bars:
        out.add_column("", width=BAR)
    titles = ("train\nloss", _title(rows[0].epoch.score), "best\n(epoch)", "\nspeed", "left\nat most")
    for title in titles:
        out.add_column(title, justify="right", no_wrap=True)
    if hidden:
        out.caption = f"{len(hidden)} more are finished"
    for row in rows:
        if row.what not in hidden:
            out.add_row(*_cells(row, bars))
    return out


def _cells(row: _TrainingRow, bars: bool) -> list[RenderableType]:
    epoch = row.epoch
    improved = epoch.best == epoch.number
    reached = 1 if epoch.finished else epoch.number / epoch.last
    return [
        Text(row.what),
        f"{epoch.number}/{epoch.last}",
        *([ProgressBar(total=1, completed=reached, width=BAR)] if bars else []),
        f"{epoch.row['train_loss']:.4f}",
        Text(f"{epoch.row[epoch.score]:.4f}", style="bold green" if improved else ""),
        f"{epoch.best_score:.4f} ({epoch.best})",
        _speed(row.rate),
        "done" if epoch.finished else _left(row),
    ]


def _title(score: str) -> str:
    return score.replace("_", " ").replace(" f1", " F1").replace("validation ", "validation\n")


def _speed(rate: float | None) -> str:
    """Return a speed as a text: epochs per second, or seconds per epoch if an epoch takes more than one second."""
    if rate is None:
        return ""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def _left(row: _TrainingRow) -> str:
    """Return the time until the last allowed epoch as a text. Early stopping may end the training run sooner."""
    if row.rate is None:
        return ""
    return clock((row.epoch.last - row.epoch.number) / row.rate)


def _last(epoch: "EpochReport") -> int:
    """Return the number of the last epoch of a training run: of an unfinished run, the last one that is allowed."""
    return epoch.number if epoch.finished else epoch.last
