"""Entry point of the `ercache` command.

Importing all commands takes about a second. It happens inside `main`, so that Ctrl-C during that time prints no
traceback.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.command_tree import cli

__all__ = ["cli", "main"]


def __getattr__(name: str) -> Any:
    """Import the Typer application `cli` with all commands when the name `cli` of this module is first used."""
    if name != "cli":
        raise AttributeError(name)
    from app.command_tree import cli

    return cli


def main() -> None:
    """Parse the command line, run the command, and end the process with an exit code.

    Exit codes: 0 success, 1 the work failed, 2 wrong usage or unusable input, 130 interrupted by Ctrl-C.
    """
    try:
        from app.command_tree import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
