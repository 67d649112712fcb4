"""Progress in a pipe: a line now and then, also when nothing is finished for long."""

import re
import time

import pytest

from app import lines as page
from app.console import progress
from app.lines import clock, lines

EVERY = 0.05


def test_a_line_comes_when_the_time_is_over_although_nothing_is_told() -> None:
    written: list[str] = []
    with lines(written.append, EVERY) as tick:
        tick("inputs", 0, 10)
        time.sleep(5 * EVERY)
    assert len(written) >= 2 and re.fullmatch(r"inputs: 0/10, 0:0\d so far", written[0])
    before = len(written)
    time.sleep(3 * EVERY)
    assert len(written) == before, "nothing comes when the work is over"


def test_it_says_how_much_how_fast_and_how_long_still() -> None:
    work = page._Work(since=100.0, first=4, done=24, total=634)
    assert work.told(110.0) == "24/634, 2.0/s, 5:05 left"
    assert page._Work(0.0, 0, 2, 4).told(60.0) == "2/4, 30.0 s each, 1:00 left"


def test_what_is_done_is_not_told_again() -> None:
    written: list[str] = []
    with lines(written.append, EVERY) as tick:
        tick("scan", 5, 5)
        time.sleep(3 * EVERY)
    assert written == []


def test_a_pipe_gets_lines_on_stderr_and_nothing_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page.lines.__wrapped__, "__defaults__", (EVERY,))
    with progress() as tick:
        tick("inputs", 1, 3)
        time.sleep(3 * EVERY)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("inputs: 1/3, ")


def test_durations_are_read_as_people_write_them() -> None:
    assert [clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
