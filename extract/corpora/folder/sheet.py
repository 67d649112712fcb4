"""Read the bytes of a csv or tsv table into header and lines, with any usual separator and encoding.

A file of another format is reported with the name of that format.
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

    `lines` has pairs of line number and cells. For a row that spans several lines of the file, it is the last number.
    """

    header: list[str]
    lines: list[tuple[int, list[str]]]


def read_sheet(content: bytes, name: str, encoding: str, known: Callable[[str], bool]) -> Sheet:
    """Read a csv or tsv file into its header and lines.

    Several separators are tried. The one with which the header has most known columns is used; if several are equally
    good, the one with which it has most columns.

    Args:
        content: bytes of the file.
        name: name of the file, for messages.
        encoding: encoding of a file without a byte order mark.
        known: says whether a cell of the header names a known column.

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
    """Return two counts for a header cut at a separator: its columns with known names, and all its columns."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = next((line for line in lines if any(cell.strip() for cell in line)), [])
    except csv.Error:  # reported when the table itself is read
        return 0, 0
    return sum(map(known, header)), len(header)


def _lines(text: str, name: str, separator: str, skipped: int) -> Sheet:
    """Return all lines of a table that are not empty; the first one is the header.

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
