"""Print notices on stderr. Each notice is printed only once."""

import sys

_PRINTED: set[str] = set()


def notify_once(message: str) -> None:
    """Print a message on stderr, unless this process has already printed the same message."""
    if message not in _PRINTED:
        _PRINTED.add(message)
        print(message, file=sys.stderr, flush=True)
