"""Relations between single English words: IsA (I), HasContext (H) and Causes (C); docs/papers/cues.md, section 3.3.

They are stored in a text file. Its first line begins with `#` and names the source. Each other line is a pair: both
words in alphabetical order and the letters of their relations, separated by tabs (`dog IsA animal` becomes
`animal<TAB>dog<TAB>I`). Directions are not kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ercache.errors import WeightsError
from ercache.files import atomic_file

RELATIONS: Final = {"/r/IsA": "I", "/r/HasContext": "H", "/r/Causes": "C"}
LETTERS: Final = "".join(RELATIONS.values())
OWN: Final = Path(__file__).with_name("relations.tsv")
"""Our own few hundred relations of everyday words; enough for tests and the demo."""


@dataclass(frozen=True)
class Knowledge:
    """Relations of word pairs.

    Attributes:
        pairs: (two words in alphabetical order) -> letters of their relations: I (IsA), H (HasContext), C (Causes).
        terms: all words that have a relation.
    """

    pairs: Mapping[tuple[str, str], str]
    terms: frozenset[str]

    def letters(self, a: str, b: str) -> str:
        """Return the relations of two words in either direction as letters, such as `IH`; empty without a relation."""
        return self.pairs.get((a, b) if a < b else (b, a), "")


def knowledge_of(relations: Iterable[tuple[str, str, str]]) -> Knowledge:
    """Build a `Knowledge` from rows (word, word, letters). The order of the words and repeated rows do not matter."""
    found: dict[tuple[str, str], str] = {}
    for a, b, letters in relations:
        if a != b:
            pair = (a, b) if a < b else (b, a)
            known = found.get(pair, "")
            found[pair] = "".join(letter for letter in LETTERS if letter in known or letter in letters)
    return Knowledge(found, frozenset(word for pair in found for word in pair))


def read_knowledge(path: Path) -> Knowledge:
    """Read a file of word relations.

    Raises:
        WeightsError: the file has another format; the error names the line.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if not first.startswith("#"):
            raise ValueError("line 1: does not begin with #")
        return knowledge_of(_row(line, number) for number, line in enumerate(lines, start=2))
    except ValueError as error:
        raise WeightsError(
            f"{path}: not a file of word relations ({error})",
            hint="make it from ConceptNet's dump with `ercache weights convert conceptnet FILE`",
        ) from error


def _row(line: str, number: int) -> tuple[str, str, str]:
    cells = line.split("\t")
    if len(cells) != 3 or not all(cells) or not set(cells[2]) <= set(LETTERS):
        raise ValueError(f"line {number} is not two words and letters: {line[:80]!r}")
    return cells[0], cells[1], cells[2]


def write_knowledge(path: Path, knowledge: Knowledge, source: str) -> None:
    """Write a file of word relations; equal content gives equal bytes.

    Args:
        path: path of the file.
        knowledge: the relations.
        source: where the relations come from, one line.
    """
    rows = (f"{a}\t{b}\t{letters}\n" for (a, b), letters in sorted(knowledge.pairs.items()))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {source}\n")
        file.writelines(rows)
