"""ConceptNet's dump of assertions, read once and cut down to what `text/kwrt` looks up.

The dump (`conceptnet-assertions-5.7.0.csv.gz`, about 34 million rows of all languages, no header) has five columns
between tabs: assertion, relation, start, end, JSON. It is read as a stream: memory holds what is kept, no more.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ercache.errors import WeightsError
from extract.text.kwrt.knowledge import RELATIONS, Knowledge, knowledge_of, write_knowledge

CONCEPTNET: Final = "conceptnet"  # key in the table of checkpoints
LONGEST: Final = 1 << 20  # bytes of a line; real ones have at most a few thousand
_ENGLISH: Final = b"/c/en/"
_KEPT: Final = {relation.encode(): letter for relation, letter in RELATIONS.items()}


def write_relations(dump: Path, target: Path) -> None:
    """Make a file of relations of the dump.

    Raises:
        WeightsError: as `read_conceptnet`.
    """
    write_knowledge(target, read_conceptnet(dump), "ConceptNet 5, English single words; CC BY-SA 4.0")


def read_conceptnet(dump: Path) -> Knowledge:
    """Relations between single English words, in either direction, without regard to their weights.

    Raises:
        WeightsError: not ConceptNet's dump, cut off, or without one such relation.
    """
    try:
        with gzip.open(dump, "rb") as file:
            knowledge = knowledge_of(_rows(file))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise WeightsError(
            f"{dump}: not readable as ConceptNet's assertions ({error})",
            hint="get conceptnet-assertions-5.7.0.csv.gz again and give it as it is, compressed",
        ) from error
    if not knowledge.pairs:
        raise WeightsError(f"{dump}: holds no English IsA, HasContext or Causes relation of single words")
    return knowledge


def _rows(file: gzip.GzipFile) -> Iterator[tuple[str, str, str]]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        cells = line.split(b"\t", 4)
        if len(cells) != 5 or not line.endswith(b"\n"):
            raise ValueError(f"row {number} has {len(cells)} columns, or no end")
        letter = _KEPT.get(cells[1])
        if letter is not None and cells[2].startswith(_ENGLISH) and cells[3].startswith(_ENGLISH):
            start, end = _term(cells[2]), _term(cells[3])
            if start and end:
                yield start, end, letter


def _term(uri: bytes) -> str:
    """`kangaroo` of `/c/en/kangaroo/n/wn/animal`; "" for a term of several words."""
    term = uri.split(b"/", 4)[3].decode("utf-8").lower()
    return "" if "_" in term else term
