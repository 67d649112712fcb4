"""`python -m ercache` runs the installed command `ercache`."""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run the installed command `ercache`.

    The command is found as an entry point of the installed package, because `ercache` must not import `app`.
    """
    found = list(entry_points(group="console_scripts", name="ercache"))
    if not found:
        print("error: the command `ercache` is not installed here\n  -> pip install -e .", file=sys.stderr)
        sys.exit(2)
    found[0].load()()


main()
