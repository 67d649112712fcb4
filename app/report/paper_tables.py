"""The tables of papers that `ercache reproduce --out` wrote: published scores beside ours."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter

from fusion.papers import METRICS
from fusion.runs.schema import Score

FOLDER: Final = "reports/tables"
SHOWN: Final = 3  # deviations of a row that are shown at once


class ReproducedRow(BaseModel):
    """The fields of a reproduced row that the report shows. Scores of ours are shares, published ones are percent."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    table: str
    row: str
    corpus: str
    published: dict[str, float]
    ours: dict[str, Score]
    verdict: str
    why: str = ""
    deviations: list[str] = []


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
    rows: tuple[ReproducedRow, ...]


def read_tables(path: Path) -> PaperTables:
    """Read a file that `ercache reproduce --out` wrote, `<paper>-<corpus>.json`.

    Raises:
        ValidationError: the file has another form.
    """
    rows = TypeAdapter(tuple[ReproducedRow, ...]).validate_json(path.read_bytes())
    return PaperTables(path.stem.partition("-")[0], rows)


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


def _cell(row: ReproducedRow, metric: str) -> tuple[float | None, Score | None]:
    ours = row.ours.get(metric)
    return row.published.get(metric), None if ours is None else ours.in_percent


def _why(row: ReproducedRow) -> str:
    if not row.deviations:
        return row.why
    more = len(row.deviations) - SHOWN
    return "; ".join(row.deviations[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
