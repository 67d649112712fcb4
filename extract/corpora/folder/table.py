"""Read tables of utterances (.csv, .tsv) that users write for their own clips, and collect every fault.

| column (case does not matter) | also | meaning |
|---|---|---|
| `file` | `path`, `clip`, `filename` | picture and sound of the utterance, relative to the root |
| `video`, `audio` | `wav` | pictures and sound, if they are two files |
| `start`, `end` | `start_time`, `end_time` | seconds or [h:]mm:ss.mmm in the file; the whole file without them |
| `text` | `utterance`, `transcript`, `sentence` | what was said |
| `speaker` | `actor` | who said it |
| `dialogue` | `dialogue_id`, `conversation` | a conversation; by default all rows of a file with times, else one row |
| `index` | `turn`, `utterance_id` | order inside the dialogue; by default by time, then as in the table |
| `id` | | unique; by default the file's name, with the index where rows share a file |
| `split` | `part`, `subset` | train, dev (or val, valid, validation), test: the split `official` |
| `emotion`, `sentiment`, `label`, `label:NAME` | | each column is a label set; an empty cell means no label |
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ercache.manifest import leaves_root
from extract.corpora.common.listing import list_some
from extract.corpora.folder.sheet import Sheet, read_sheet

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("path", "clip", "filename", "file_name"),
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
_KNOWN: Final = {alias: column for column, aliases in COLUMNS.items() for alias in (column, *aliases)}
_NUMBERS: Final = frozenset(["index", "turn"])  # aliases of the column index that always hold numbers
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
_SUBSETS: Final = {"val": "dev", "valid": "dev", "validation": "dev"}
_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,3}):([0-5]?\d(?:[.,]\d+)?)", re.ASCII)
_SEPARATORS: Final = re.compile(r"[/\\]")
_INDEX: Final = re.compile(r"(\d{1,9})(?:[.,]0*)?", re.ASCII)  # pandas writes 3.0 where a column has gaps
_FILE_NAME: Final = re.compile(r".+\.[A-Za-z][A-Za-z0-9]{1,4}")
# What programs write into an empty cell. `None` or `NA` may be a text, and `Nan` a speaker.
_EMPTY: Final = frozenset(["nan", "NaN", "None", "NA", "N/A", "#N/A", "<NA>", "NaT", "NULL", "null"])
_NO_TEXT: Final = frozenset(["nan", "NaN", "#N/A", "<NA>"])


@dataclass(frozen=True)
class ClipRow:
    """One row of the user's table, or one turn of a transcript. None stands for an empty or absent cell.

    Attributes:
        where: file and line, for messages.
        index: position in the dialogue.
        file, video, audio: paths as the user wrote them.
        start, end: seconds in the media file.
        split: the subset: train, dev, test or another name.
        labels: label set -> label.
    """

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
    """The content of a user's table, or of a transcript, and what is wrong with it.

    Attributes:
        rows: the rows, in the order of the table.
        label_sets: names of the label sets.
        notes: notes (reason, detail) for the manifest.
        findings: messages about faults.
        of_recording: whether the table is the transcript of one recording.
    """

    rows: list[ClipRow] = field(default_factory=list)
    label_sets: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    of_recording: bool = False


def seconds_of(text: str) -> float:
    """Convert a time such as `12.5`, `12,5`, `1:02.5` or `1:02:03,5` into seconds.

    Raises:
        ValueError: the text is not such a time.
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
    """Read a table of utterances; the columns are listed at the top of this file.

    Args:
        content: bytes of the table.
        name: name of the table, for messages.
        encoding: encoding of a table without a byte order mark.
        of_recording: whether the table is the transcript of one recording; then the columns `file` and `text` may be
            absent.
    """
    table = ClipTable(of_recording=of_recording)
    try:
        sheet = read_sheet(content, name, encoding, lambda cell: _column(cell) is not None)
    except ValueError as error:
        table.findings.append(str(error))
        return table
    places = _places(sheet, name, table)
    _names_for_numbers(sheet, name, places, table)
    table.label_sets = [column.removeprefix(PREFIX) for column in places if column.startswith(PREFIX)]
    needed = {*MEDIA, "text", *(("start",) if of_recording else ())}
    if not needed & set(places):
        found = list_some(filter(None, sheet.header), 20) or "none"
        names = " or ".join([", ".join(sorted(needed)[:-1]), sorted(needed)[-1]])
        table.findings.append(f"{name}: has no column {names} (found: {found})")
    if table.findings:
        return table
    emptied: Counter[str] = Counter()
    for number, line in sheet.lines:
        _add(table, f"{name}, line {number}", places, sheet.header, line, emptied)
    if emptied:
        detail = list_some(f"{column} ({count})" for column, count in emptied.items())
        table.notes.append(
            ("empty_cell", f"{name}: nan, None, NA and the like were taken as empty: {detail}")
        )
    if not table.rows and not table.findings:
        table.findings.append(f"{name}: holds no row")
    return table


def _column(cell: str) -> str | None:
    """Return the standard name of a column (`file`, `text`, `speaker` ...) from its cell in the table's header.

    For a label column it is `label:NAME`, for an unknown column None.
    """
    lower = "_".join(re.split(r"[\s_-]+", cell.strip().lower()))
    if lower in _KNOWN:
        return _KNOWN[lower]
    if lower in LABELS:
        return PREFIX + lower
    kind, colon, given = cell.partition(":")
    is_set = colon and kind.strip().lower() == PREFIX[:-1] and given.strip()
    return PREFIX + given.strip() if is_set else None


def _places(sheet: Sheet, name: str, table: ClipTable) -> dict[str, int]:
    """Find the known columns in the header of a table.

    Unknown columns are noted in `table`, and repeated columns are added to its faults.

    Returns:
        Standard name of the column -> index of its cell in each line.
    """
    places: dict[str, int] = {}
    unused = []
    for place, cell in enumerate(sheet.header):
        column = _column(cell)
        if column is None:
            # Excel leaves empty columns; pandas writes its row numbers under an empty name.
            if cell or any(line[place].strip() for _, line in sheet.lines if place < len(line)):
                unused.append(cell or "(no name)")
            continue
        if column in places:
            table.findings.append(
                f"{name}: {sheet.header[places[column]]!r} and {cell!r} are both the column {column!r}"
            )
        places[column] = place
    if unused:
        table.notes.append(("unused_column", f"{name}: {list_some(unused)}"))
    return places


def _names_for_numbers(sheet: Sheet, name: str, places: dict[str, int], table: ClipTable) -> None:
    """Correct `places` if the column `utterance_id` contains names instead of positions in the dialogue.

    Names that look like file names make it the column `file`, provided that the table has no other column of files. All
    other names make it the column `id`. A note in `table` reports the change.

    Args:
        sheet: header and lines of the table.
        name: name of the table, for notes.
        places: column -> index in each line; it is changed.
        table: where the note is added.
    """
    place = places.get("index")
    if place is None or _column(sheet.header[place]) != "index" or sheet.header[place].lower() in _NUMBERS:
        return
    cells = [cell for _, line in sheet.lines if place < len(line) and (cell := line[place].strip())]
    if all(_INDEX.fullmatch(cell) or cell in _EMPTY for cell in cells):
        return
    files = not any(column in places for column in MEDIA) and all(map(_FILE_NAME.fullmatch, cells))
    column = "file" if files else "id"
    if column in places:
        table.notes.append(
            ("unused_column", f"{name}: {sheet.header[place]} holds names, and there is an {column}")
        )
    else:
        places[column] = place
        table.notes.append(
            ("names_not_numbers", f"{name}: {sheet.header[place]} holds names: taken as {column}")
        )
    del places["index"]


def _add(
    table: ClipTable,
    where: str,
    places: Mapping[str, int],
    header: Sequence[str],
    line: Sequence[str],
    emptied: Counter[str],
) -> None:
    if len(line) < len(header) or any(cell.strip() for cell in line[len(header) :]):
        table.findings.append(
            f"{where}: {len(line)} fields, the header has {len(header)}; put a text with separators or line breaks "
            "into quotes, and keep the separator of an empty cell"
        )
        return
    cells: dict[str, str | None] = {}
    for column, place in places.items():
        cell = line[place].strip()
        if cell in (_NO_TEXT if column == "text" else _EMPTY) and not column.startswith(PREFIX):
            emptied[header[place]] += 1
            cell = ""
        cells[column] = cell or None
    faults: list[str] = []
    start, end = (_time(cells.get(column), column, faults) for column in ("start", "end"))
    faults += _faults(cells, {column: header[place] for column, place in places.items()})
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
            index=None if index is None else int(re.split("[.,]", index)[0]),
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
    except ValueError:  # reported with the other faults of the row
        faults.append(f"{column} {cell!r} is not a time (seconds or [h:]mm:ss.mmm)")
        return None


def _faults(cells: Mapping[str, str | None], named: Mapping[str, str]) -> list[str]:
    """Return messages about the faults in the cells of a row.

    Args:
        cells: standard name of the column -> cell.
        named: standard name of the column -> its name in the header, for the messages.
    """
    faults = []
    for column in ("id", "dialogue"):
        value = cells.get(column) or ""
        if _SEPARATORS.search(value):
            faults.append(
                f"{named[column]} {value!r} contains a path separator; give paths in the column file"
            )
        if not value.isprintable():
            faults.append(f"{named[column]} {value!r} holds control characters")
    labels = {column: value for column, value in cells.items() if column.startswith(PREFIX) and value}
    faults += [
        f"{column.removeprefix(PREFIX)} {value!r} holds control characters"
        for column, value in labels.items()
        if not value.isprintable()
    ]
    index = cells.get("index")
    if index is not None and not _INDEX.fullmatch(index):
        faults.append(
            f"{named['index']} {index!r} is not a whole number (the position in the dialogue); "
            "give names in the column id"
        )
    media = [path for column in MEDIA if (path := cells.get(column)) is not None]
    faults += [
        f"{path!r} leaves the root; give paths as they are seen from --root"
        for path in media
        if leaves_root(path.replace("\\", "/")) or _DRIVE.match(path)
    ]
    return faults
