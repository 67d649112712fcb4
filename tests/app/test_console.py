"""Tables for people: whole in a pipe, and without lost figures in a narrow terminal."""

import io

import pytest

from app import console as page
from app.commands import reproduction
from app.console import table
from fusion.evaluation.reproduce import RowResult

COLUMNS = ("row", *(f"a long heading {n}" for n in range(8)))
CELLS = ("a name that is typed", *("12.34 (0.56)",) * 8)


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_a_table_in_a_pipe_has_the_width_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    table(COLUMNS, [CELLS])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "typed" in line]
    assert row.count("12.34 (0.56)") == 8


def test_a_narrow_terminal_folds_numbers_and_cuts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, plain = Terminal(), page.Console
    monkeypatch.setattr(page, "Console", lambda: plain(file=terminal, color_system=None))
    table(COLUMNS[:5], [CELLS[:5]])
    shown = terminal.getvalue()
    assert "…" not in shown and "a name that is typed" in shown
    assert all(len(line) <= 60 for line in shown.splitlines())


def test_empty_columns_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    ours = {"weighted_f1": {"mean": 0.5, "std": 0.01, "ci95": [0.4, 0.6]}}
    rows = [
        RowResult("4", "theirs", "demo", {}, {}, "another system"),
        RowResult("4", "ours", "demo", {}, ours, "stand-in"),
    ]
    reproduction._show("tables", rows)
    shown = capsys.readouterr().out
    assert "published" not in shown and "difference" not in shown
    assert "50.00 (1.00)" in shown and "40.0 to 60.0" in shown and "another system" in shown
