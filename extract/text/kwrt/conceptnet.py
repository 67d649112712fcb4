"""Read the published file of ConceptNet's relations, and keep only those that the encoder `text/kwrt` uses.

The file (`conceptnet-assertions-5.7.0.csv.gz`, about 34 million rows of all languages, no header) has five columns
separated by tabs: assertion, relation, first word, second word, JSON. Only one row at a time is held in memory, besides
the relations that are kept.
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
    """Convert ConceptNet's published file to the file of word relations that the encoder `text/kwrt` reads.

    Args:
        dump: ConceptNet's published file, compressed.
        target: path of the file to write.

    Raises:
        WeightsError: the file is not ConceptNet's, is cut off, or contains no usable relation.
    """
    write_knowledge(target, read_conceptnet(dump), "ConceptNet 5, English single words; CC BY-SA 4.0")


def read_conceptnet(dump: Path) -> Knowledge:
    """Read ConceptNet's published file and return its IsA, HasContext and Causes relations of single English words.

    Directions and weights of the relations are not kept.

    Raises:
        WeightsError: the file is not ConceptNet's, is cut off, or contains no usable relation.
    """
    try:
        with gzip.open(dump, "rb") as file:
            knowledge = knowledge_of(_rows(file))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise WeightsError(
            f"{dump}: not readable as ConceptNet's published file ({error})",
            hint="download conceptnet-assertions-5.7.0.csv.gz again and give its path; do not unpack it",
        ) from error
    if not knowledge.pairs:
        raise WeightsError(
            f"{dump}: contains no IsA, HasContext or Causes relation between two single English words",
            hint="download the complete file conceptnet-assertions-5.7.0.csv.gz and give its path",
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
    """Return the word that a ConceptNet address names: `kangaroo` for `/c/en/kangaroo/n/wn/animal`.

    The result is "" if the address names several words, such as `/c/en/ice_cream`.
    """
    term = uri.split(b"/", 4)[3].decode("utf-8").lower()
    return "" if "_" in term else term
