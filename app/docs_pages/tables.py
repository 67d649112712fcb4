"""Update a generated table in a Markdown page, between the two comment lines that mark its place."""

from collections.abc import Sequence
from pathlib import Path

from ercache.errors import UsageError


def line(cells: Sequence[str]) -> str:
    """Join the texts of cells to one row of a Markdown table: `| a | b |`."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page_with_table(page: str, table: str, begin: str, end: str) -> str:
    """Replace the generated table in the text of a Markdown page.

    Args:
        page: text of the page.
        table: the new table.
        begin, end: the lines before and after the table, which mark its place.

    Returns:
        The new text of the page.

    Raises:
        UsageError: the page does not contain both lines, in this order.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise UsageError(
            "the Markdown page has no place for the generated table",
            hint=f"add these two lines to it: {begin} {end}",
        )
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def write_table(path: Path, table: str, begin: str, end: str) -> bool:
    """Replace the generated table in a Markdown file by a new one. Return whether the file changed."""
    before = path.read_text(encoding="utf-8")
    after = page_with_table(before, table, begin, end)
    path.write_text(after, encoding="utf-8")
    return before != after
