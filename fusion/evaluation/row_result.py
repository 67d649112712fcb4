"""The result of reproducing one row of a published table; reads and writes JSON files with the results of a paper."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from ercache.files import write_json
from ercache.wording import count_noun

FOLDER: Final = Path("reports/tables")  # under `data`
RowStatus = Literal["reproduced", "differs", "stand-in", "no effect here", "not runnable", "another system"]


@dataclass(frozen=True)
class RowResult:
    """The result of reproducing one row of a published table: the published scores beside our test scores.

    If the row could not be trained, the fields with our scores are empty.

    Attributes:
        table: key of the table.
        row: name of the row.
        corpus: name of the corpus.
        published: metric -> published percent on this corpus; empty if the paper has no score.
        ours: metric -> `{"mean", "std", "ci95"}` of our test scores, as fractions.
        verdict: `reproduced` if all published scores lie in our confidence intervals, else `differs`; `stand-in` if our
            experiment deviates from the row or the paper has no score on this corpus. Rows without a run:
            `no effect here` (the same network as another row), `not runnable` or `another system` (not in ercache).
        why: why the row was not trained, or the first points in which our experiment deviates from the row.
        run: folder of the run.
        per_class: class -> our test scores of this class.
        confusion: our confusion matrix on test.
        difference: metric -> our score minus published score, in percentage points.
        among: true class -> predicted class -> share, for the classes of the paper's confusion figure. Empty if the
            paper has no such figure, or the run lacks one of the classes.
        deviations: all points in which our experiment deviates from the row.
        over_folds: metric -> mean and standard deviation over the folds; empty without folds.
    """

    table: str
    row: str
    corpus: str
    published: dict[str, float]
    ours: dict[str, Any]
    verdict: RowStatus
    why: str = ""
    run: str = ""
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: list[Any] = field(default_factory=list)
    difference: dict[str, float] = field(default_factory=dict)
    among: dict[str, dict[str, float]] = field(default_factory=dict)
    deviations: list[str] = field(default_factory=list)
    over_folds: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The verdict (such as `reproduced`) as a text, with the number of deviations from the paper's row, if any."""
        more = f", {count_noun(len(self.deviations), 'deviation')}" if self.deviations else ""
        return f"{self.verdict}{more}"


def rows_file(data: Path, paper: str, corpus: str) -> Path:
    """Return the path of the JSON file with the results of all table rows of a paper on one corpus."""
    return data / FOLDER / f"{paper}-{corpus}.json"


def write_rows(path: Path, rows: Sequence[RowResult]) -> None:
    """Write the results of table rows to a JSON file; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [asdict(row) for row in rows])


def read_rows(path: Path) -> tuple[RowResult, ...]:
    """Read the results of table rows from a JSON file that `write_rows` has written.

    Raises:
        ValidationError: the file does not hold such results.
    """
    return TypeAdapter(tuple[RowResult, ...]).validate_json(path.read_bytes())
