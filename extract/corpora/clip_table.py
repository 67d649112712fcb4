"""Tables of utterances (.csv, .tsv) that users write for their own clips: rows, with every fault found on the way.

| column (case does not matter) | also | meaning |
|---|---|---|
| `file` | `path`, `clip`, `filename` | picture and sound of the utterance, relative to the root |
| `video`, `audio` | `wav` | where they are two files |
| `start`, `end` | `start_time`, `end_time` | seconds or [h:]mm:ss.mmm in the file; the whole file without them |
| `text` | `utterance`, `transcript`, `sentence` | what was said |
| `speaker` | `actor` | who said it |
| `dialogue` | `dialogue_id`, `conversation` | a conversation; by default a file with times, or a row without |
| `index` | `turn`, `utterance_id` | order inside the dialogue; by default by time, then as in the table |
| `id` | | unique; by default the file's name, with the index where rows share a file |
| `split` | `part`, `subset` | train, dev (or val, valid, validation), test: the split `official` |
| `emotion`, `sentiment`, `label`, `label:NAME` | | a label set each; an empty cell is no label |
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ercache.manifest import escapes
from extract.corpora.folder import some
from extract.corpora.subtitles import decode

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("path", "clip", "filename"),
    "video": (),
    "audio": ("wav",),
    "start": ("start_time",),
    "end": ("end_time",),
    "text": ("utterance", "transcript", "sentence"),
    "speaker": ("actor",),
    "dialogue": ("dialogue_id", "conversation"),
    "index": ("turn", "utterance_id"),
    "id": (),
    "split": ("part", "subset"),
}
LABELS: Final = ("emotion", "sentiment", "label")
PREFIX: Final = "label:"
MEDIA: Final = ("file", "video", "audio")
_SUBSETS: Final = {"val": "dev", "valid": "dev", "validation": "dev"}
_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,3}):([0-5]?\d(?:[.,]\d+)?)", re.ASCII)
_SEPARATORS: Final = re.compile(r"[/\\]")


@dataclass(frozen=True)
class ClipRow:
    """One utterance as a user wrote it; paths and times are as given, None is an empty or absent cell."""

    where: str
    id: str | None = None
    dialogue: str | None = None
    index: int | None = None
    speaker: str | None = None
    text: str | None = None
    file: str | None = None
    video: str | None = None
    audio: str | None = None
    start: float | None = None
    end: float | None = None
    split: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ClipTable:
    """Rows in the table's order, names of its label sets, what was noticed, and what makes it unusable."""

    rows: list[ClipRow] = field(default_factory=list)
    label_sets: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    of_recording: bool = False


def seconds_of(text: str) -> float:
    """Seconds of `12.5`, `12,5`, `1:02.5` or `1:02:03,5`.

    Raises:
        ValueError: it is no such time.
    """
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    value = float(text.replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(f"not a time: {text!r}")
    return value


def read_clip_table(
    content: bytes, name: str, encoding: str = "utf-8", of_recording: bool = False
) -> ClipTable:
    """Read a table of this module's columns; the separator is the comma, semicolon or tab that its header has most.

    Args:
        of_recording: it is the transcript of one recording, so that its rows need neither file nor text.
    """
    table = ClipTable(of_recording=of_recording)
    try:
        text = decode(content, encoding)
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        header = [cell.strip() for cell in next(lines, [])]
        places = _places(header, name, table, {*MEDIA, "text", *(("start",) if of_recording else ())})
        if not table.findings:
            for line in lines:
                if any(line):
                    _add(table, f"{name}, line {lines.line_num}", places, len(header), line)
    except csv.Error as error:
        table.findings.append(f"{name}, line {lines.line_num}: not a readable csv ({error})")
    except ValueError as error:
        table.findings.append(f"{name}: {error}")
    if not table.rows and not table.findings:
        table.findings.append(f"{name}: holds no row")
    return table


def _places(header: Sequence[str], name: str, table: ClipTable, needed: set[str]) -> dict[str, int]:
    """Column -> its place in a line; label sets have PREFIX before their names."""
    known = {alias: column for column, aliases in COLUMNS.items() for alias in (column, *aliases)}
    places: dict[str, int] = {}
    unused = []
    for place, cell in enumerate(header):
        lower = cell.lower()
        if lower in known:
            column = known[lower]
        elif lower in LABELS:
            column = PREFIX + lower
        elif lower.startswith(PREFIX) and lower != PREFIX:
            column = PREFIX + cell[len(PREFIX) :].strip()
        else:
            unused.append(cell)
            continue
        if column in places:
            table.findings.append(
                f"{name}: {header[places[column]]!r} and {cell!r} are both the column {column!r}"
            )
        places[column] = place
    table.label_sets = [column.removeprefix(PREFIX) for column in places if column.startswith(PREFIX)]
    if unused:
        table.notes.append(("unused_column", f"{name}: {some(unused)}"))
    if not needed & set(places):
        found = some(header, 20) or "none"
        names = " or ".join([", ".join(sorted(needed)[:-1]), sorted(needed)[-1]])
        table.findings.append(f"{name}: has no column {names} (found: {found})")
    return places


def _add(table: ClipTable, where: str, places: Mapping[str, int], width: int, line: Sequence[str]) -> None:
    if len(line) != width:
        table.findings.append(f"{where}: {len(line)} fields, the header has {width}")
        return
    cells = {column: line[place].strip() or None for column, place in places.items()}
    faults: list[str] = []
    start, end = (_time(cells.get(column), column, faults) for column in ("start", "end"))
    faults += _faults(cells)
    if not table.of_recording and not any(cells.get(column) for column in (*MEDIA, "text")):
        faults.append("has neither a file nor a text")
    if start is not None and end is not None and end < start:
        faults.append(f"its times run backwards ({cells['start']} to {cells['end']})")
    table.findings += [f"{where}: {fault}" for fault in faults]
    if faults:
        return
    index, split = cells.get("index"), (cells.get("split") or "").lower()
    table.rows.append(
        ClipRow(
            where=where,
            id=cells.get("id"),
            dialogue=cells.get("dialogue"),
            index=None if index is None else int(index),
            speaker=cells.get("speaker"),
            text=cells.get("text"),
            file=cells.get("file"),
            video=cells.get("video"),
            audio=cells.get("audio"),
            start=start,
            end=end,
            split=_SUBSETS.get(split, split) or None,
            labels={s: value for s in table.label_sets if (value := cells[PREFIX + s]) is not None},
        )
    )


def _time(cell: str | None, column: str, faults: list[str]) -> float | None:
    if cell is None:
        return None
    try:
        return seconds_of(cell)
    except ValueError:  # told with the other faults of the row
        faults.append(f"{column} {cell!r} is no time (seconds or [h:]mm:ss.mmm)")
        return None


def _faults(cells: Mapping[str, str | None]) -> list[str]:
    faults = []
    for column in ("id", "dialogue"):
        value = cells.get(column) or ""
        if _SEPARATORS.search(value):
            faults.append(f"{column} {value!r} holds a path separator")
        if not value.isprintable():
            faults.append(f"{column} {value!r} holds control characters")
    labels = {column: value for column, value in cells.items() if column.startswith(PREFIX) and value}
    faults += [
        f"{column.removeprefix(PREFIX)} {value!r} holds control characters"
        for column, value in labels.items()
        if not value.isprintable()
    ]
    index = cells.get("index")
    if index is not None and not re.fullmatch(r"\d{1,9}", index, re.ASCII):
        faults.append(f"index {index!r} is no whole number")
    media = [path for column in MEDIA if (path := cells.get(column)) is not None]
    faults += [f"{path!r} leaves the root" for path in media if escapes(path.replace("\\", "/"))]
    return faults
