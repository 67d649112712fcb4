"""The entry of the `ercache` command: exit codes, and errors and interrupts without tracebacks.

The verbs, which take a second to import, come in when `main` runs: Ctrl-C during that is no traceback either.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.verbs import cli

__all__ = ["cli", "main"]


def __getattr__(name: str) -> Any:
    """`cli`, the tree of the verbs, when it is asked for."""
    if name != "cli":
        raise AttributeError(name)
    from app.verbs import cli

    return cli


def main() -> None:
    """Run the command line; exit 0 done, 1 failed work, 2 wrong usage, 130 interrupted."""
    try:
        from app.verbs import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
