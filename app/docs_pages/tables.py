"""Pages of docs/ that hold tables made by a command, between two marks."""

from collections.abc import Sequence
from pathlib import Path

from ercache.errors import UsageError


def line(cells: Sequence[str]) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page_with_table(page: str, table: str, begin: str, end: str) -> str:
    """A page whose table is replaced.

    Raises:
        UsageError: the page has not both marks, in this order.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise UsageError(
            "the page has no place for the table", hint=f"put these two lines into it: {begin} {end}"
        )
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def write_table(path: Path, table: str, begin: str, end: str) -> bool:
    """Put a table into a page; whether that changed it."""
    before = path.read_text(encoding="utf-8")
    after = page_with_table(before, table, begin, end)
    path.write_text(after, encoding="utf-8")
    return before != after
