"""Read the published file of ConceptNet's relations, and keep only those that the encoder `text/kwrt` uses.

The file (`conceptnet-assertions-5.7.0.csv.gz`, about 34 million rows of all languages, no header) has five columns
separated by tabs: assertion, relation, start, end, JSON. It is read as a stream, so memory holds only what is kept.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ercache.errors import WeightsError
from extract.text.kwrt.knowledge import RELATIONS, Knowledge, knowledge_of, write_knowledge

CONCEPTNET: Final = "conceptnet"  # key in the table of checkpoints
MAX_LINE_BYTES: Final = 1 << 20  # real lines have at most a few thousand bytes
_ENGLISH: Final = b"/c/en/"
_KEPT: Final = {relation.encode(): letter for relation, letter in RELATIONS.items()}


def write_relations(dump: Path, target: Path) -> None:
    """Write a file of word relations made from ConceptNet's published file.

    Raises:
        WeightsError: the file is not ConceptNet's, is cut off, or contains no usable relation.
    """
    write_knowledge(target, read_conceptnet(dump), "ConceptNet 5, English single words; CC BY-SA 4.0")


def read_conceptnet(dump: Path) -> Knowledge:
    """Return ConceptNet's relations between single English words, without directions and weights.

    Raises:
        WeightsError: the file is not ConceptNet's, is cut off, or contains no usable relation.
    """
    try:
        with gzip.open(dump, "rb") as file:
            knowledge = knowledge_of(_rows(file))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise WeightsError(
            f"{dump}: not readable as ConceptNet's assertions ({error})",
            hint="get conceptnet-assertions-5.7.0.csv.gz again and pass it unchanged, still compressed",
        ) from error
    if not knowledge.pairs:
        raise WeightsError(
            f"{dump}: contains no English IsA, HasContext or Causes relation of single words",
            hint="use the complete dump, conceptnet-assertions-5.7.0.csv.gz",
        )
    return knowledge


def _rows(file: gzip.GzipFile) -> Iterator[tuple[str, str, str]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        cells = line.split(b"\t", 4)
        if len(cells) != 5 or not line.endswith(b"\n"):
            raise ValueError(f"row {number} has {len(cells)} columns instead of 5, or is cut off")
        letter = _KEPT.get(cells[1])
        if letter is not None and cells[2].startswith(_ENGLISH) and cells[3].startswith(_ENGLISH):
            start, end = _term(cells[2]), _term(cells[3])
            if start and end:
                yield start, end, letter


def _term(uri: bytes) -> str:
    """Return the word in a ConceptNet address: `kangaroo` for `/c/en/kangaroo/n/wn/animal`; "" for several words."""
    term = uri.split(b"/", 4)[3].decode("utf-8").lower()
    return "" if "_" in term else term
