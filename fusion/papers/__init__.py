"""Published tables as data: one YAML file a paper, with the figures of each row and the switches that make it."""

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.params.schema import Strict, Task

FOLDER: Final = Path(__file__).parent
Figures = dict[str, dict[str, float]]  # corpus -> metric -> percent


class Row(Strict):
    """A row of a published table.

    Attributes:
        model: key of the model here; without one the row is another system's, and only printed.
        modalities: of the base experiment's, those that the row uses; without, all.
        arrays: modality -> the array of its features that the row uses.
        task: where it is another one than the base experiment's.
        config: switches on top of the base experiment.
        published: corpus -> metric -> percent, as printed.
    """

    name: str
    model: str | None = None
    modalities: list[str] | None = None
    arrays: dict[str, str] = Field(default_factory=dict)
    task: Task | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    published: Figures = Field(default_factory=dict)


class Table(Strict):
    """A published table, or what a figure prints as numbers."""

    key: str
    title: str
    rows: list[Row] = Field(min_length=1)


class Paper(Strict):
    """A paper, the key of its model here, and its tables.

    Attributes:
        note: what a reader of the printed figures must know.
        drawn: classes whose confusion alone the paper draws.
    """

    key: str
    title: str
    model: str
    note: str = ""
    drawn: list[str] = Field(default_factory=list)
    tables: list[Table] = Field(min_length=1)

    def only(self, table: str | None, row: str | None = None) -> list[Table]:
        """All tables, or the one of a key; with all rows, or those of a name.

        Raises:
            UsageError: there is no such table, or none of them has such a row.
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
    """Keys of the papers whose tables are here."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_paper(key: str) -> Paper:
    """The tables of a paper.

    Raises:
        UsageError: they are not here.
    """
    if key not in papers():
        raise UsageError(f"unknown paper {key!r}", hint=suggestion(key, papers()))
    return Paper(**yaml.safe_load((FOLDER / f"{key}.yaml").read_text(encoding="utf-8")))
