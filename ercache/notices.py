"""What a person should know although the work goes on: one line on stderr, once."""

import sys

_TOLD: set[str] = set()


def notify_once(message: str) -> None:
    """Write a line on stderr, unless this process has written it already."""
    if message not in _TOLD:
        _TOLD.add(message)
        print(message, file=sys.stderr, flush=True)
