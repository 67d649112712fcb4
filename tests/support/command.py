"""The command line in this process, as a user calls it."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from app import cli


class Answer(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer on stdout."""
        return json.loads(self.out)


Run = Callable[..., Answer]


def command_runner(
    monkeypatch: pytest.MonkeyPatch,
    captured: pytest.CaptureFixture[str],
) -> Run:
    """A function that runs `ercache` with some words.

    Args:
        captured: `capfd` where child processes write to stderr, too; else `capsys`.
    """

    def run(*words: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["ercache", *map(str, words)])
        captured.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Answer(int(left.value.code or 0), *captured.readouterr())

    return run
