"""Run the command line inside the test process, as a user would call it."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from app import cli


class Answer(NamedTuple):
    """Exit code, stdout and stderr of a finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON that the command printed on stdout."""
        return json.loads(self.out)


Run = Callable[..., Answer]


def command_runner(
    monkeypatch: pytest.MonkeyPatch,
    captured: pytest.CaptureFixture[str],
) -> Run:
    """Make a function that runs `ercache` with the given words and returns exit code, stdout and stderr.

    Args:
        captured: pytest's `capfd` if child processes write to stderr, too; otherwise `capsys`.
    """

    def run(*words: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["ercache", *map(str, words)])
        captured.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Answer(int(left.value.code or 0), *captured.readouterr())

    return run
