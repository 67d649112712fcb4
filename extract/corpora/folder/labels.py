"""Unify the spelling of labels that people have typed into a table, and remove words that mean "no label".

For example `Happy`, `happy ` and `HAPPY` become one label. Every change is reported in a note.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from extract.corpora.common.equivalent_names import name_key
from extract.corpora.common.listing import list_some
from extract.corpora.folder.table import ClipRow

# What pandas, R, Excel and people write into a cell without a value; compared in lower case.
NO_LABEL: Final = frozenset(
    ["", "nan", "-nan", "none", "na", "n/a", "#n/a", "<na>", "null", "nil", "nat", "-", "--", "–", "—"]
)
LabelNote = tuple[str, str, int]  # reason, detail, number of rows


def unify_labels(
    rows: Sequence[ClipRow], names: Iterable[str], declared: Mapping[str, Sequence[str]]
) -> tuple[list[ClipRow], list[LabelNote]]:
    """Give each label value one spelling.

    Values that differ only in case, blanks or Unicode form count as one value. It gets the spelling that the user lists
    in params.yaml, or else the most frequent spelling in the table (of equally frequent ones, the first). A word such
    as `none` means that there is no label; but if the user lists it as a value, it stays a label.

    Args:
        rows: the rows of the table.
        names: names of the label sets.
        declared: label set -> the values that the user lists in params.yaml.

    Returns:
        The rows with unified labels, and notes on what was changed.
    """
    notes: list[LabelNote] = []
    for name in names:
        written = Counter(row.labels.get(name, "") for row in rows)
        values = declared.get(name, ())
        meant = {**_spellings(written), **{value_key(value): value for value in values}}
        none = {w for w in written if value_key(w) in NO_LABEL and value_key(w) not in map(value_key, values)}
        means = {w: w if w in values else meant[value_key(w)] for w in written if w not in none}
        rows = [_with(row, name, means) for row in rows]
        notes += _notes(name, written, none, means, len(rows))
    return list(rows), notes


def value_key(value: str) -> str:
    """Return a text for comparing label values: equal for values that differ only in case, blanks or Unicode form."""
    return name_key(" ".join(value.split()))


def _spellings(written: Counter[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value, _ in written.most_common():  # equally frequent spellings: the first in the table
        found.setdefault(value_key(value), value)
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
) -> list[LabelNote]:
    notes: list[LabelNote] = []
    nothing = {word: written[word] for word in written if word in none}
    if nothing:
        count = sum(nothing.values())
        words = list_some(f"{word or 'an empty cell'} ({n})" for word, n in nothing.items())
        notes.append(("no_label", f"{name}: {count} of {rows} rows have no label: {words}", count))
    others = {word: value for word, value in means.items() if word != value}
    if others:
        count = sum(written[word] for word in others)
        words = list_some(f"{word} ({written[word]}) as {value}" for word, value in others.items())
        notes.append(
            ("other_spelling", f"{name}: {count} rows were taken as another spelling: {words}", count)
        )
    return notes
