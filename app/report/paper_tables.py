"""The tables of papers that `ercache reproduce --out` wrote: published scores beside ours."""

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
    """A row of a table: for each metric the published percentage and our score (in percent), each None if absent."""

    name: str
    cells: list[tuple[float | None, Score | None]]
    verdict: str
    why: str


@dataclass(frozen=True)
class TableView:
    """A table of a paper on one corpus.

    Attributes:
        metrics: names of the metrics, in the order of the cells.
        others: names of the rows of other systems, which ercache does not have.
    """

    paper: str
    table: str
    corpus: str
    metrics: list[str]
    rows: list[RowView]
    others: int


@dataclass(frozen=True)
class PaperTables:
    """All reproduced rows of one paper on one corpus."""

    paper: str
    rows: tuple[RowResult, ...]


def read_tables(path: Path) -> PaperTables:
    """Read a file that `ercache reproduce --out` wrote, `<paper>-<corpus>.json`.

    Raises:
        ValidationError: the file has another form.
    """
    return PaperTables(path.stem.partition("-")[0], read_rows(path))


def table_views(found: PaperTables) -> list[TableView]:
    """Prepare the tables of a paper for the page. Rows of other systems are counted, not shown."""
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
