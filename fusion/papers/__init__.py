"""Published tables as data: one YAML file for each paper, with the scores and the switches of each row."""

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.params.schema import Strict, Task

FOLDER: Final = Path(__file__).parent
Figures = dict[str, dict[str, float]]  # corpus -> metric -> percent


class TableRow(Strict):
    """A row of a published table.

    Attributes:
        name: name of the row, as in the paper.
        model: key of the model here. None: the row is another system, which is shown but cannot be trained.
        modalities: modalities of the base experiment that the row uses; None: all.
        arrays: modality -> the array of its features that the row uses.
        task: task of the row, if it differs from the base experiment's.
        config: switches that the row changes in the base experiment.
        published: corpus -> metric -> percent, as printed.
    """

    name: str
    model: str | None = None
    modalities: list[str] | None = None
    arrays: dict[str, str] = Field(default_factory=dict)
    task: Task | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    published: Figures = Field(default_factory=dict)


class PaperTable(Strict):
    """A published table, or a figure that prints numbers."""

    key: str
    title: str
    rows: list[TableRow] = Field(min_length=1)


class Paper(Strict):
    """A paper and its tables.

    Attributes:
        key: key of the paper.
        title: title of the paper.
        model: key of its model here.
        note: what a reader of the published scores must know.
        confusion_classes: classes of the paper's confusion figure, if it shows only some.
        tables: the tables.
    """

    key: str
    title: str
    model: str
    note: str = ""
    confusion_classes: list[str] = Field(default_factory=list)
    tables: list[PaperTable] = Field(min_length=1)

    def select(self, table: str | None, row: str | None = None) -> list[PaperTable]:
        """Select tables by key and rows by name; None selects all.

        Raises:
            UsageError: there is no such table or row.
        """
        found = self.tables if table is None else [t for t in self.tables if t.key == table]
        if not found:
            raise UsageError(
                f"{self.key} has no table {table!r}",
                hint=suggestion(table or "", [t.key for t in self.tables]),
            )
        if row is None:
            return found
        known = [r.name for t in found for r in t.rows]
        if row not in known:
            raise UsageError(f"{self.key} has no row {row!r}", hint=suggestion(row, known))
        kept = {t.key: [r for r in t.rows if r.name == row] for t in found}
        return [t.model_copy(update={"rows": kept[t.key]}) for t in found if kept[t.key]]


def papers() -> list[str]:
    """Keys of the papers with a file here."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_paper(key: str) -> Paper:
    """Read the tables of a paper.

    Raises:
        UsageError: there is no file for the paper.
    """
    if key not in papers():
        raise UsageError(f"unknown paper {key!r}", hint=suggestion(key, papers()))
    return Paper(**yaml.safe_load((FOLDER / f"{key}.yaml").read_text(encoding="utf-8")))
