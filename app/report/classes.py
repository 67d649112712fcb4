"""Section of the report: scores per class and confusion matrices of comparable runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from app.report.runs import Run
from ercache.manifest import PRESENCE


@dataclass(frozen=True)
class Cell:
    """A shaded cell of a confusion matrix or of the table of F1 scores.

    Attributes:
        shade: darkness, from 0 (white) to 1.
        text: main number in the cell, in percent: the share of the true class, or an F1 score.
        small: number of utterances, in small print below the main number; "" to show none.
    """

    shade: float
    text: str
    small: str = ""

    @property
    def dark(self) -> bool:
        """Whether the shade is so dark that white text is more readable than black text."""
        return self.shade > 0.68


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of a run on test data. Rows are true classes, columns are predicted classes.

    Counts are summed over seeds. The shares of each row add up to 100 %. In a multi-label task, each emotion has two
    rows: utterances without it, and utterances with it.

    Attributes:
        classes: headings of the columns.
        rows: for each row its heading, its cells, and its number of utterances.
        summary: a sentence about the most frequent confusion; "" in a multi-label task.
    """

    experiment: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...], float], ...]
    summary: str


@dataclass(frozen=True)
class ClassTable:
    """Table of F1 scores on test data, in percent, with one row per run and one column per class.

    Attributes:
        support: number of test utterances of each class.
        rows: for each run its name and its cells; None where the run has no score of the class.
        best: for each class the name of the best run.
    """

    classes: tuple[str, ...]
    support: tuple[float, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    best: tuple[str, ...]


def confusion_of(run: Run) -> Confusion | None:
    """Turn the confusion matrix in a run's `run.json` into shaded cells for the page.

    None if the run stores no matrix, or if its size differs from the number of classes.
    """
    classes, columns, counts = _table_of(run)
    if not counts or len(counts) != len(classes) or any(len(row) != len(columns) for row in counts):
        return None
    rows = []
    for label, row in zip(classes, counts, strict=True):
        total = sum(row)
        shares = [n / total if total else 0.0 for n in row]
        cells = tuple(Cell(s, f"{100 * s:.0f}", f"{n:,.0f}") for s, n in zip(shares, row, strict=True))
        rows.append((label, cells, total))
    summary = "" if run.record.several else _worst(classes, counts)
    return Confusion(run.record.experiment, tuple(columns), tuple(rows), summary)


def _table_of(run: Run) -> tuple[list[str], list[str], list[list[float]]]:
    """Read the confusion matrix from a run's `run.json`.

    Returns:
        Three lists: names of the rows (true classes), names of the columns (predicted classes), and rows of counts.
    """
    names, stored = run.record.classes, run.record.confusion
    if not run.record.several:
        return names, names, cast(list[list[float]], stored)
    rows = [row for matrix in cast(list[list[list[float]]], stored) for row in matrix]
    return [f"{sign}{name}" for name in names for sign in ("no ", "")], list(PRESENCE), rows


def _worst(classes: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """Return a sentence about the most frequent confusion: which true class was predicted as which other class."""
    wrong = [
        (-n, true, predicted)
        for i, (true, row) in enumerate(zip(classes, counts, strict=True))
        for j, (predicted, n) in enumerate(zip(classes, row, strict=True))
        if i != j and n
    ]
    if not wrong:
        return "All utterances are classified correctly."
    n, true, predicted = min(wrong)
    return f"Most frequent confusion: {true} predicted as {predicted} ({-n:,.0f} {'time' if n == -1 else 'times'})."


def class_table(runs: Sequence[Run]) -> ClassTable | None:
    """Build the table of test F1 scores per class, for all runs that store them. None if no run stores them."""
    scored = [run for run in runs if run.record.per_class]
    if not scored:
        return None
    classes = tuple(scored[0].record.classes)
    rows, best = [], []
    for run in scored:
        scores = [run.record.per_class.get(c) for c in classes]
        cells = tuple(Cell(s.f1, f"{100 * s.f1:.1f}") if s else None for s in scores)
        rows.append((run.record.experiment, cells))
    for c in classes:
        ranked = [
            (-run.record.per_class[c].f1, run.record.experiment)
            for run in scored
            if c in run.record.per_class
        ]
        best.append(min(ranked)[1] if ranked and min(ranked)[0] < 0 else "")
    first = scored[0].record.per_class
    support = tuple(first[c].support if c in first else 0.0 for c in classes)
    return ClassTable(classes, support, tuple(rows), tuple(best))
