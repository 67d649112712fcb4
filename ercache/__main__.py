"""`python -m ercache`: the command of that name which is installed in this environment."""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run it; this package knows none of the others."""
    found = list(entry_points(group="console_scripts", name="ercache"))
    if not found:
        print("error: the command `ercache` is not installed here\n  -> pip install -e .", file=sys.stderr)
        sys.exit(2)
    found[0].load()()


main()
