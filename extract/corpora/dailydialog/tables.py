"""Read DailyDialog's tables: the parquet files of its page at Hugging Face, and csv files made of them.

Each row is a dialogue with three columns, as the data set card at Hugging Face lists them: `dialog` (texts of the
turns), `act` and `emotion` (one number per turn). In a csv file, a cell holds a printed list: with commas if Python
printed it, with blanks alone if NumPy did. Both are read.
"""

import ast
import re
from collections import defaultdict
from typing import Final

import pyarrow as pa
import pyarrow.parquet as parquet

from ercache.reasons import Missing
from extract.corpora.common.listing import FolderListing, describe_unreadable, list_some, read_content
from extract.corpora.common.text_corpus import TextParts, has_columns, read_rows
from extract.corpora.dailydialog.lines import RawDialogue

COLUMNS: Final = ("dialog", "act", "emotion")
_PART: Final = re.compile(r"(train|validation|valid|val|dev|test)(?![a-z])")
_SHARD: Final = re.compile(r"(?:.*?-)?\d{4,5}(?:-of-(\d{5}))?\.parquet")
_TEXT: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NUMBERS: Final = re.compile(r"\[[\d\s,]*\]", re.ASCII)


def tables_of(folder: FolderListing, suffix: str) -> dict[str, list[str]]:
    """Find the tables of train, dev and test by the file's name (`train-00000-of-00001.parquet`) or folder (`train/`).

    Args:
        folder: the files of the corpus.
        suffix: `parquet` or `csv`.

    Returns:
        Subset -> paths of its tables, all from the folder nearest to the root. Subsets without a table are left out.
    """
    by_folder: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in folder.files:
        if path.lower().endswith(f".{suffix}"):
            place, _, name = path.rpartition("/")
            match = _PART.match(name.lower()) or _PART.fullmatch(place.rpartition("/")[2].lower())
            if match:
                part = match[1] if match[1] in ("train", "test") else "dev"
                by_folder[part][place].append(path)
    return {part: sorted(next(iter(places.values()))) for part, places in by_folder.items()}


def read_tables(folder: FolderListing, paths: list[str], found: TextParts) -> list[RawDialogue]:
    """Read the dialogues of one subset (train, dev or test) from its tables.

    Messages about unreadable tables, or about a missing file of a table in several files, are added to `found.faults`.
    """
    if paths[0].lower().endswith(".csv"):
        if len(paths) > 1:
            found.faults.append(f"{list_some(paths)}: several tables of one part; keep one")
            return []
        return _csv(folder, paths[0], found)
    shards = [_SHARD.fullmatch(path.rpartition("/")[2]) for path in paths]
    stated = {match[1] for match in shards if match}
    number = int(next(iter(stated)) or len(paths)) if len(stated) == 1 else 1
    if number != len(paths) or (len(paths) > 1 and None in shards):
        found.faults.append(f"{list_some(paths)}: not the {number} file(s) of one table; is one absent?")
        return []
    return [dialogue for path in paths for dialogue in _parquet(folder, path, found)]


def _parquet(folder: FolderListing, path: str, found: TextParts) -> list[RawDialogue]:
    found.sources.append(path)
    try:
        table = parquet.read_table(pa.BufferReader(read_content(folder.root, path)))
    except Missing as missing:
        found.faults.append(describe_unreadable(path, missing))
        return []
    except (pa.ArrowException, OSError) as error:
        found.faults.append(f"{path}: not a readable parquet file ({str(error).splitlines()[0][:120]})")
        return []
    if not has_columns(path, table.column_names, COLUMNS, found):
        return []
    dialogues = []
    for number, row in enumerate(table.select(COLUMNS).to_pylist(), start=1):
        texts, acts, emotions = (row[column] for column in COLUMNS)
        if not _are(texts, str) or not _are(acts, int) or not _are(emotions, int):
            found.faults.append(
                f"{path}, row {number}: dialog, act, emotion are not lists of texts and numbers"
            )
        else:
            stripped = tuple(text.strip() for text in texts)
            dialogues.append(RawDialogue(f"{path}, row {number}", stripped, tuple(emotions), tuple(acts)))
    return dialogues


def _are(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _csv(folder: FolderListing, path: str, found: TextParts) -> list[RawDialogue]:
    dialogues = []
    for number, row in enumerate(read_rows(folder, path, COLUMNS, found), start=1):
        texts, acts, emotions = (
            read(row[column] or "")
            for read, column in zip((list_of_texts, list_of_numbers, list_of_numbers), COLUMNS, strict=True)
        )
        if texts is None or acts is None or emotions is None:
            found.faults.append(f"{path}, row {number}: dialog, act, emotion are not printed lists")
        else:
            dialogues.append(
                RawDialogue(
                    f"{path}, row {number}",
                    tuple(str(text).strip() for text in texts),
                    tuple(int(n) for n in emotions),
                    tuple(int(n) for n in acts),
                )
            )
    return dialogues


def list_of_texts(cell: str) -> list[str] | None:
    """Read a csv cell with a printed list of texts, `['a', 'b']` or `['a' 'b']`; None if it holds something else."""
    cell = cell.strip()
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    inner = cell[1:-1]
    before, *gaps = (gap.strip() for gap in _TEXT.sub("\0", inner).split("\0"))
    after = gaps.pop() if gaps else ""
    if before or after or set(gaps) not in (set(), {","}, {""}):
        return None
    try:
        return [ast.literal_eval(text) for text in _TEXT.findall(inner)]
    except (SyntaxError, ValueError):  # a line break or a bad escape inside a text
        return None


def list_of_numbers(cell: str) -> list[str] | None:
    """Read a csv cell with a printed list of numbers, `[0, 4]` or `[0 4]`; None if it holds something else."""
    return re.findall(r"\d+", cell) if _NUMBERS.fullmatch(cell.strip()) else None
