"""The live table of trainings: what a terminal shows of them, and that a pipe sees nothing."""

import io
import re

import pytest
from rich.console import Console

from app import training_table as page
from app.training_table import training_table
from ercache.training.loop import EpochReport


class Terminal(io.StringIO):
    """Takes what is printed, as a terminal does."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 120 columns and 12 lines, and a clock that goes on a second an epoch."""
    terminal, clock = Terminal(), iter(range(10_000))
    monkeypatch.setattr(
        page, "Console", lambda stderr: Console(file=terminal)
    )  # pytest puts its own stderr in
    monkeypatch.setattr(page, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(page, "REFRESH", 0.001)  # frames are drawn when a test asks for them, and at the end
    for name, value in {"COLUMNS": "120", "LINES": "12", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return terminal


def epoch(
    number: int, score: float = 0.5, best: int = 1, last: int = 60, finished: bool = False
) -> EpochReport:
    row = {"epoch": float(number), "train_loss": 1.25, "validation_weighted_f1": score}
    return EpochReport(row, last, best, 0.5432, "validation_weighted_f1", finished)


def lines(screen: Terminal) -> list[str]:
    """The last frame, without colours and the moves of the cursor."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    return [line.strip() for line in plain.splitlines() if line.strip()]


def test_a_terminal_shows_epoch_loss_score_best_speed_and_time_left_of_every_seed(screen: Terminal) -> None:
    with training_table() as watch:
        for n in range(1, 4):
            watch("exp, seed 0", epoch(n, 0.5321, best=2))
            watch("exp, seed 1", epoch(n, finished=n == 3))
    *head, first, second = lines(screen)
    assert [re.split(r"  +", line) for line in head] == [
        ["train", "validation", "best", "left"],
        ["training", "epoch", "loss", "weighted F1", "(epoch)", "speed", "at most"],
    ]
    first, second = (re.sub(r"[━╸╺ ]{2,}", "|", line) for line in (first, second))
    assert first == "exp, seed 0|3/60|1.2500|0.5321|0.5432 (2)|2.0 s each|1:54"
    assert second.startswith("exp, seed 1|3/60|") and second.endswith("|done")


def test_a_narrow_terminal_has_all_figures_and_no_bars(
    screen: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with training_table() as watch:
        for n in (1, 2):
            watch("exp, loso/Ses01, seed 0", epoch(n))
    assert "exp, loso/Ses01, seed 0  2/60  1.2500" in re.sub("  +", "  ", lines(screen)[-1])
    assert lines(screen)[-1].endswith("0:58") and "━" not in screen.getvalue()


def test_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(page, "Console", lambda stderr: Console(file=pipe))
    with training_table() as watch:
        watch("exp, seed 0", epoch(1))
    assert pipe.getvalue() == ""


def test_with_too_many_trainings_running_and_last_finished_ones_are_shown(screen: Terminal) -> None:
    with training_table() as watch:
        for n in range(30):
            watch(f"exp, loso/{n}, seed 0", epoch(60, finished=n != 3))
    shown = lines(screen)
    assert len(shown) <= 12 and any("loso/3," in line for line in shown)
    assert any("loso/29," in line for line in shown) and not any("loso/0," in line for line in shown)
    assert any("more are finished" in line for line in shown)


def test_an_interrupt_leaves_what_was_reached_and_gives_the_cursor_back(screen: Terminal) -> None:
    with pytest.raises(KeyboardInterrupt), training_table() as watch:
        watch("exp, seed 0", epoch(7))
        raise KeyboardInterrupt
    assert "7/60" in lines(screen)[-1] and screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind(
        "\x1b[?25l"
    )


def test_what_is_refused_before_the_first_epoch_leaves_no_table(screen: Terminal) -> None:
    with pytest.raises(ValueError), training_table():
        raise ValueError
    assert "training" not in "".join(lines(screen))
