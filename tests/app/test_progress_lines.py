"""Progress when stderr is no terminal: a line every few seconds, also while nothing gets finished."""

import re
import time

import pytest

from app import progress_lines as module
from app.console import progress
from app.progress_lines import clock, progress_lines

EVERY = 0.05


def test_lines_are_written_in_time_although_nothing_is_reported() -> None:
    written: list[str] = []
    with progress_lines(written.append, EVERY) as tick:
        tick("inputs", 0, 10)
        time.sleep(5 * EVERY)
    assert len(written) >= 2 and re.fullmatch(r"inputs: 0/10, 0:0\d so far", written[0])
    before = len(written)
    time.sleep(3 * EVERY)
    assert len(written) == before, "no line comes when the work is over"


def test_a_line_gives_the_count_the_rate_and_the_remaining_time() -> None:
    task = module._Task(since=100.0, first=4, done=24, total=634)
    assert task.describe(110.0) == "24/634, 2.0/s, 5:05 left"
    assert module._Task(0.0, 0, 2, 4).describe(60.0) == "2/4, 30.0 s each, 1:00 left"


def test_finished_work_is_not_reported() -> None:
    written: list[str] = []
    with progress_lines(written.append, EVERY) as tick:
        tick("scan", 5, 5)
        time.sleep(3 * EVERY)
    assert written == []


def test_a_pipe_gets_lines_on_stderr_and_nothing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(EVERY) as tick:
        tick("inputs", 1, 3)
        time.sleep(3 * EVERY)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("inputs: 1/3, ")


def test_durations_are_written_as_hours_minutes_and_seconds() -> None:
    assert [clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
