"""Relations between single English words: IsA (I), HasContext (H) and Causes (C); docs/papers/cues.md, section 3.3.

They are stored in a text file. Its first line begins with `#` and names the source. Each further line has three
columns, separated by tabs: two words in alphabetical order, and the letters of their relations. `dog IsA animal`
becomes `animal<TAB>dog<TAB>I`, so the direction of the relation is lost.
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
    """A table that says which pairs of English words are related, and how.

    Attributes:
        pairs: dict from two words in alphabetical order to letters: I (IsA), H (HasContext), C (Causes).
        terms: all words that occur in at least one pair.
    """

    pairs: Mapping[tuple[str, str], str]
    terms: frozenset[str]

    def letters(self, a: str, b: str) -> str:
        """Return letters for the relations of words `a` and `b`, such as `IH` for IsA and HasContext; "" for none.

        The order of the two words does not matter.
        """
        return self.pairs.get((a, b) if a < b else (b, a), "")


def knowledge_of(relations: Iterable[tuple[str, str, str]]) -> Knowledge:
    """Build the table of related words from triples (word, word, letters of their relations).

    The order of the two words does not matter. Letters of repeated pairs are joined.
    """
    found: dict[tuple[str, str], str] = {}
    for a, b, letters in relations:
        if a != b:
            pair = (a, b) if a < b else (b, a)
            known = found.get(pair, "")
            found[pair] = "".join(letter for letter in LETTERS if letter in known or letter in letters)
    return Knowledge(found, frozenset(word for pair in found for word in pair))


def read_knowledge(path: Path) -> Knowledge:
    """Read a table of related words from a text file that `write_knowledge` has written.

    Raises:
        WeightsError: the file has another format; the message names the first wrong line.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if not first.startswith("#"):
            raise ValueError("line 1: does not begin with #")
        return knowledge_of(_row(line, number) for number, line in enumerate(lines, start=2))
    except ValueError as error:
        raise WeightsError(
            f"{path}: not a file of word relations ({error})",
            hint="make it again: `ercache weights convert conceptnet conceptnet-assertions-5.7.0.csv.gz`",
        ) from error


def _row(line: str, number: int) -> tuple[str, str, str]:
    cells = line.split("\t")
    if len(cells) != 3 or not all(cells) or not set(cells[2]) <= set(LETTERS):
        raise ValueError(f"line {number} is not two words and letters: {line[:80]!r}")
    return cells[0], cells[1], cells[2]


def write_knowledge(path: Path, knowledge: Knowledge, source: str) -> None:
    """Write a table of related words to a text file. The same table and source always give the same bytes.

    Args:
        path: path of the file.
        knowledge: table of related words.
        source: one line that says where the relations come from.
    """
    rows = (f"{a}\t{b}\t{letters}\n" for (a, b), letters in sorted(knowledge.pairs.items()))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {source}\n")
        file.writelines(rows)
