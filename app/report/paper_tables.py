"""Section of the report: tables of papers that `ercache reproduce --out` wrote, published scores beside ours."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from fusion.evaluation.row_result import RowResult, read_rows
from fusion.papers import METRICS
from fusion.runs.schema import Score

SHOWN: Final = 3  # deviations of a row that are shown at once


@dataclass(frozen=True)
class RowView:
    """A row (system) of a paper's table.

    Attributes:
        cells: for each metric, the published score and our score in percent; None for a score that is absent.
        verdict: how our scores compare with the published ones, such as `reproduced` or `differs`.
        why: why there are no scores of ours, or in which points our run deviates from the paper.
    """

    name: str
    cells: list[tuple[float | None, Score | None]]
    verdict: str
    why: str


@dataclass(frozen=True)
class TableView:
    """A table of a paper on one corpus.

    Attributes:
        metrics: names of the metrics, in the order of the cells.
        rows: the rows of systems that ercache has.
        others: number of further rows, of systems that ercache does not have. They are not shown.
    """

    paper: str
    table: str
    corpus: str
    metrics: list[str]
    rows: list[RowView]
    others: int


@dataclass(frozen=True)
class PaperTables:
    """All rows that `ercache reproduce --out` wrote for one paper on one corpus."""

    paper: str
    rows: tuple[RowResult, ...]


def read_tables(path: Path) -> PaperTables:
    """Read a file that `ercache reproduce --out` wrote, `<paper>-<corpus>.json`.

    Raises:
        ValidationError: the content of the file is not what the command writes.
    """
    return PaperTables(path.stem.partition("-")[0], read_rows(path))


def table_views(found: PaperTables) -> list[TableView]:
    """Divide the rows of a paper into its tables, for the page. Rows of systems that ercache lacks are only counted."""
    views = []
    for (table, corpus), group in groupby(found.rows, key=lambda row: (row.table, row.corpus)):
        every = list(group)
        rows = [row for row in every if row.verdict != "another system"]
        keys = [key for key in METRICS if any(key in row.published for row in rows)] or ["weighted_f1"]
        shown = [RowView(row.row, [_cell(row, key) for key in keys], row.verdict, _why(row)) for row in rows]
        names = [METRICS[key] for key in keys]
        views.append(TableView(found.paper, table, corpus, names, shown, len(every) - len(rows)))
    return views


def _cell(row: RowResult, metric: str) -> tuple[float | None, Score | None]:
    ours = row.ours.get(metric)
    return row.published.get(metric), None if ours is None else Score.model_validate(ours).in_percent


def _why(row: RowResult) -> str:
    from fusion.papers.deviations import in_short  # imports torch, which takes seconds

    return in_short(row.deviations, SHOWN) if row.deviations else row.why
