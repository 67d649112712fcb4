"""Read MELD's tables `train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv`, and collect their faults."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from extract.text.normalise import C1, repair

EMOTIONS: Final = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")  # order of the README
SENTIMENTS: Final = ("neutral", "positive", "negative")
COLUMNS: Final = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
TIMES: Final = ("StartTime", "EndTime")
_TIME: Final = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d),(\d{1,3})", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,6}", re.ASCII)


@dataclass(frozen=True)
class TableRow:
    """One utterance of a MELD table.

    Attributes:
        dialogue, utterance: Dialogue_ID and Utterance_ID.
        times: StartTime and EndTime as they are written.
        start, end: these times in seconds of the episode; None if they are absent or unreadable.
    """

    dialogue: int
    utterance: int
    speaker: str
    text: str
    emotion: str
    sentiment: str
    times: tuple[str, str]
    start: float | None
    end: float | None

    @property
    def key(self) -> tuple[int, int]:
        """Dialogue_ID and Utterance_ID. The pair is unique within train, dev or test, but not in the whole corpus."""
        return self.dialogue, self.utterance


@dataclass
class MeldTable:
    """The content of a MELD table, and what is wrong with it.

    Attributes:
        rows: the rows, in the order of the table.
        repaired: number of wrongly encoded characters that were repaired.
        findings: messages about faults; a table with faults is unusable.
    """

    rows: list[TableRow] = field(default_factory=list)
    repaired: int = 0
    findings: list[str] = field(default_factory=list)


def seconds_of(time: str) -> float:
    """Convert a time `h:mm:ss,mmm` into seconds. The digits after the comma are milliseconds, as in subtitles.

    Raises:
        ValueError: the text is not such a time.
    """
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise ValueError(f"not a time: {time!r}")
    hours, minutes, seconds, milliseconds = map(int, match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def read_table(content: bytes, name: str) -> MeldTable:
    """Read a MELD table and collect its faults.

    Args:
        content: bytes of the table.
        name: name of the table, for messages.
    """
    table = MeldTable()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        table.findings.append(f"{name}: not UTF-8 (byte {error.start}); is it saved by a spreadsheet?")
        return table
    table.repaired = sum(text.count(chr(code)) for code in C1)
    reader = csv.reader(io.StringIO(repair(text), newline=""), strict=True)
    try:
        lines = list(reader)
    except csv.Error as error:
        table.findings.append(f"{name}, line {reader.line_num}: not a readable csv ({error})")
        return table
    header, body = (lines[0] if lines else []), [line for line in lines[1:] if line]
    lacking = [column for column in COLUMNS if column not in header]
    if lacking:
        found = ", ".join(header) or "none"
        table.findings.append(f"{name}: has no column {', '.join(lacking)} (found: {found})")
    elif not body:
        table.findings.append(f"{name}: holds no row")
    else:
        for number, line in enumerate(body, start=2):
            _add(table, f"{name}, row {number}", header, line)
        table.findings += _repeated(table.rows, name)
    return table


def _add(table: MeldTable, where: str, header: Sequence[str], line: Sequence[str]) -> None:
    if len(line) != len(header):
        table.findings.append(f"{where}: {len(line)} fields, the header has {len(header)}")
        return
    cells = dict(zip(header, line, strict=True))
    faults = list(_faults(cells))
    table.findings += [f"{where}: {fault}" for fault in faults]
    if not faults:
        table.rows.append(_row(cells))


def _faults(cells: dict[str, str]) -> Iterator[str]:
    for column in ("Dialogue_ID", "Utterance_ID"):
        if not _NUMBER.fullmatch(cells[column].strip()):
            yield f"{column} {cells[column]!r} is not a whole number"
    for column, values in (("Emotion", EMOTIONS), ("Sentiment", SENTIMENTS)):
        if cells[column].strip() not in values:
            yield f"unknown {column} {cells[column]!r} (known: {', '.join(values)})"


def _row(cells: dict[str, str]) -> TableRow:
    start, end = (cells.get(column, "") for column in TIMES)
    return TableRow(
        dialogue=int(cells["Dialogue_ID"]),
        utterance=int(cells["Utterance_ID"]),
        speaker=cells["Speaker"].strip(),
        text=cells["Utterance"].strip(),
        emotion=cells["Emotion"].strip(),
        sentiment=cells["Sentiment"].strip(),
        times=(start, end),
        start=_time(start),
        end=_time(end),
    )


def _time(text: str) -> float | None:
    try:
        return seconds_of(text)
    except ValueError:  # becomes a note on the utterance; nothing is computed from this time
        return None


def _repeated(rows: Sequence[TableRow], name: str) -> list[str]:
    count = Counter(row.key for row in rows)
    return [
        f"{name}: Dialogue_ID {dialogue}, Utterance_ID {utterance} stands in {n} rows"
        for (dialogue, utterance), n in count.items()
        if n > 1
    ]
