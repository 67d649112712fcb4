"""The papers that ercache reproduces, as data: one YAML file for each paper, with its tables and its training runs."""

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.params.schema import Strict, Task
from fusion.papers.original import PaperFeature, PaperRun

FOLDER: Final = Path(__file__).parent
# Metrics of published tables: key -> name.
METRICS: Final = {"uar": "UAR", "macro_f1": "macro F1", "accuracy": "accuracy", "weighted_f1": "weighted F1"}
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, if libyaml is there
Figures = dict[str, dict[str, float]]  # corpus -> metric -> percent


class TableRow(Strict):
    """A row of a published table, with the changes that turn a base experiment of params.yaml into this row.

    Attributes:
        name: name of the row, as in the paper.
        model: key of the model in ercache. None if ercache lacks the row's system: the row is shown, but not trained.
        modalities: modalities of the base experiment that the row uses; None for all.
        arrays: modality -> name of the array that this row reads from each feature of the modality. Modalities that are
            not listed keep the arrays of the base experiment.
        task: task of the row (`erc` or `epc`), if not the base experiment's.
        config: model switches that the row changes in the base experiment.
        published: corpus -> metric -> published score in percent.
    """

    name: str
    model: str | None = None
    modalities: list[str] | None = None
    arrays: dict[str, str] = Field(default_factory=dict)
    task: Task | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    published: Figures = Field(default_factory=dict)


class PaperTable(Strict):
    """One published table (or figure with printed scores) of a paper: its key, its title, and its rows of scores."""

    key: str
    title: str
    rows: list[TableRow] = Field(min_length=1)


class Paper(Strict):
    """A published paper, as read from its YAML file: its features, its training runs and its tables of scores.

    Attributes:
        key: short name of the paper, such as `m2fnet`.
        title: title of the paper.
        model: key of the paper's model in ercache.
        note: what readers of the published scores must know.
        confusion_classes: the classes in the paper's figure of the confusion matrix, if it shows only some classes.
        features: name of a feature -> how the paper computes it.
        runs: what the paper trains: one entry for each corpus and task.
        tables: tables of the paper.
    """

    key: str
    title: str
    model: str
    note: str = ""
    confusion_classes: list[str] = Field(default_factory=list)
    features: dict[str, PaperFeature]
    runs: list[PaperRun] = Field(min_length=1)
    tables: list[PaperTable] = Field(min_length=1)

    def run_for(self, corpus: str, task: Task) -> PaperRun:
        """Return what the paper trains on a corpus for a task.

        If the paper has no such run, it is a run on the same corpus for another task, else one on another corpus.
        """

        def distance(run: PaperRun) -> tuple[bool, bool]:
            return run.corpus != corpus, run.task != task

        return min(self.runs, key=distance)

    def concerns(self, table: PaperTable, corpus: str) -> bool:
        """Whether a table is to be reproduced on a corpus: it has scores there, or no table of the paper has any."""
        known = [t for t in self.tables if any(corpus in row.published for row in t.rows)]
        return table in known or not known

    def select(self, table: str | None, row: str | None = None) -> list[PaperTable]:
        """Select tables of the paper, and rows of these tables.

        Args:
            table: key of one table; None for all tables.
            row: name of the rows to keep; None for all rows.

        Returns:
            Copies of the selected tables that hold only the selected rows; tables without such a row are left out.

        Raises:
            UsageError: the paper has no such table or row.
        """
        found = self.tables if table is None else [t for t in self.tables if t.key == table]
        if not found:
            raise UsageError(
                f"paper {self.key} has no table {table!r}",
                hint=suggestion(table or "", [t.key for t in self.tables]),
            )
        if row is None:
            return found
        known = [r.name for t in found for r in t.rows]
        if row not in known:
            raise UsageError(f"paper {self.key} has no row {row!r}", hint=suggestion(row, known))
        kept = {t.key: [r for r in t.rows if r.name == row] for t in found}
        return [t.model_copy(update={"rows": kept[t.key]}) for t in found if kept[t.key]]


def papers() -> list[str]:
    """Return the keys of all papers whose tables ercache knows; they are also the keys of the papers' models."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_paper(key: str) -> Paper:
    """Read a paper (its features, training runs and tables) from its YAML file, by its key such as `m2fnet`.

    Raises:
        UsageError: the paper is unknown.
    """
    if key not in papers():
        raise UsageError(f"unknown paper {key!r}", hint=suggestion(key, papers()))
    return Paper(**yaml.load((FOLDER / f"{key}.yaml").read_text(encoding="utf-8"), Loader=LOADER))
