"""Read a csv or tsv table into header and lines, with any usual separator and encoding.

If the file is something else, such as an Excel workbook, the error message names this format.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from extract.corpora.common.subtitles import decode

WIDE: Final = b"\0"  # first or second byte of UTF-16 text that begins with an ASCII letter
SEPARATORS: Final = ",;\t"
# Excel writes such a first line to name the separator.
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(\\t|[,;\t|:])"?[,;\t]*\s*', re.I)
_BEGINNINGS: Final[Sequence[tuple[bytes, str]]] = (
    (b"PK\x03\x04", "a workbook (.xlsx, .ods) whatever its name says"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls) whatever its name says"),
)
_PAGE: Final = re.compile(r"\s*<(?:!doctype|html|table|\?xml)", re.I)


@dataclass(frozen=True)
class Sheet:
    """Header and lines of a table.

    Attributes:
        header: the column names.
        lines: pairs of line number and cells, one pair per row. If a row spans several lines of the file, the number is
            that of its last line.
    """

    header: list[str]
    lines: list[tuple[int, list[str]]]


def read_sheet(content: bytes, name: str, encoding: str, known: Callable[[str], bool]) -> Sheet:
    """Read a csv or tsv file into its header and lines.

    Comma, semicolon and tab are tried as separators, and the one that gives the header most known columns is used. If
    several give equally many, the one that gives most columns is used. A first line such as `sep=;` decides by itself.

    Args:
        content: bytes of the file.
        name: name of the file, for messages.
        encoding: encoding of a file without a byte order mark.
        known: function that returns whether a header cell is the name of a known column.

    Raises:
        ValueError: the file is not a table; the message names the line if possible.
    """
    kind = next((kind for beginning, kind in _BEGINNINGS if content.startswith(beginning)), None)
    if kind is not None:
        raise ValueError(f"{name}: is {kind}; save it as `CSV UTF-8` in the program that it is from")
    wide = "holds NUL characters; if it is UTF-16, name the encoding utf-16-le"
    try:
        text = decode(content, encoding)
    except ValueError as error:
        named = "in params.yaml: `corpora: {folder: {encoding: cp1252}}`, as Excel in Western Europe writes"
        raise ValueError(f"{name}: {wide if WIDE in content[:2] else f'{error} {named}'}") from error
    if WIDE.decode() in text[:2]:
        raise ValueError(f"{name}: {wide}")
    if _PAGE.match(text):
        raise ValueError(f"{name}: is a page of HTML or XML; save the table itself as csv")
    first, _, rest = text.partition("\n")
    told = _SEPARATOR_LINE.fullmatch(first)
    if told is not None:
        separator = "\t" if told[1] == "\\t" else told[1]
        return _lines(rest, name, separator, skipped=1)
    separator = max(SEPARATORS, key=lambda one: _fit(text, one, known))
    return _lines(text, name, separator, skipped=0)


def _fit(text: str, separator: str, known: Callable[[str], bool]) -> tuple[int, int]:
    """Cut a table's header at a separator and return two counts: its columns with known names, and all its columns."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = next((line for line in lines if any(cell.strip() for cell in line)), [])
    except csv.Error:  # reported when the table itself is read
        return 0, 0
    return sum(map(known, header)), len(header)


def _lines(text: str, name: str, separator: str, skipped: int) -> Sheet:
    """Cut a table at a separator into header and lines. The first line that is not empty is the header.

    Args:
        text: content of the table.
        name: name of the table, for messages.
        separator: the separator.
        skipped: number of lines that were removed before `text`; they count in line numbers.

    Raises:
        ValueError: a line is unreadable; the message contains its number.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    found: list[tuple[int, list[str]]] = []
    try:
        for line in reader:
            if any(cell.strip() for cell in line):
                found.append((reader.line_num + skipped, line))
    except csv.Error as error:
        raise ValueError(
            f"{name}, line {reader.line_num + skipped}: not a readable csv ({error}); "
            'put a text with quotes into quotes, and double the quotes inside it: "She said ""no""."'
        ) from error
    header = [cell.strip() for cell in found[0][1]] if found else []
    return Sheet(header, found[1:])
