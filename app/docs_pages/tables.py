"""Update generated tables in Markdown pages. Two comment lines mark the place of a table."""

from collections.abc import Sequence
from pathlib import Path

from ercache.errors import UsageError


def line(cells: Sequence[str]) -> str:
    """Format cells as a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page_with_table(page: str, table: str, begin: str, end: str) -> str:
    """Replace the table in a page.

    Args:
        page: text of the page.
        table: the new table.
        begin, end: lines that mark the place of the table.

    Raises:
        UsageError: the page does not have both lines, in this order.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise UsageError(
            "the page has no place for the table", hint=f"add these two lines to it: {begin} {end}"
        )
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def write_table(path: Path, table: str, begin: str, end: str) -> bool:
    """Update the table in a page. Returns whether the page changed."""
    before = path.read_text(encoding="utf-8")
    after = page_with_table(before, table, begin, end)
    path.write_text(after, encoding="utf-8")
    return before != after
