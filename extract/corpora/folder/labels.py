"""Labels as people write them: words that mean none, and one value in several spellings; both are told."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from extract.corpora.common.alike import folded
from extract.corpora.common.listing import some
from extract.corpora.folder.table import ClipRow

# What pandas, R, Excel and people write into a cell that has no value; compared in small letters.
NONE: Final = frozenset(
    ["", "nan", "-nan", "none", "na", "n/a", "#n/a", "<na>", "null", "nil", "nat", "-", "--", "–", "—"]
)
Note = tuple[str, str, int]  # reason, detail, how many rows


def settled(
    rows: Sequence[ClipRow], names: Iterable[str], declared: Mapping[str, Sequence[str]]
) -> tuple[list[ClipRow], list[Note]]:
    """Rows whose labels have one spelling each, and what was done to them.

    A word for nothing is no label, unless the user declares it a value. Values that differ in case, blanks or Unicode
    form are one: the declared one, else the most frequent spelling, else the first.

    Args:
        names: of the label sets.
        declared: label set -> its values, where the user gives them.
    """
    notes: list[Note] = []
    for name in names:
        written = Counter(row.labels.get(name, "") for row in rows)
        values = declared.get(name, ())
        meant = {**_spellings(written), **{_folded(value): value for value in values}}
        none = {w for w in written if _folded(w) in NONE and _folded(w) not in map(_folded, values)}
        means = {w: w if w in values else meant[_folded(w)] for w in written if w not in none}
        rows = [_with(row, name, means) for row in rows]
        notes += _notes(name, written, none, means, len(rows))
    return list(rows), notes


def _folded(value: str) -> str:
    """What two spellings of a value share."""
    return folded(" ".join(value.split()))


def _spellings(written: Counter[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value, _ in written.most_common():  # of equally frequent ones the first that was met
        found.setdefault(_folded(value), value)
    return found


def _with(row: ClipRow, name: str, means: Mapping[str, str]) -> ClipRow:
    written = row.labels.get(name)
    if written is None or means.get(written) == written:
        return row
    labels = {k: v for k, v in row.labels.items() if k != name}
    if written in means:
        labels[name] = means[written]
    return replace(row, labels=labels)


def _notes(
    name: str, written: Counter[str], none: Iterable[str], means: Mapping[str, str], rows: int
) -> list[Note]:
    notes: list[Note] = []
    nothing = {word: written[word] for word in written if word in none}
    if nothing:
        count = sum(nothing.values())
        words = some(f"{word or 'an empty cell'} ({n})" for word, n in nothing.items())
        notes.append(("no_label", f"{name}: {count} of {rows} rows have no label: {words}", count))
    others = {word: value for word, value in means.items() if word != value}
    if others:
        count = sum(written[word] for word in others)
        words = some(f"{word} ({written[word]}) as {value}" for word, value in others.items())
        notes.append(
            ("other_spelling", f"{name}: {count} rows were taken as another spelling: {words}", count)
        )
    return notes
