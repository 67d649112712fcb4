"""Schema of the record of a run, `run.json`; all code that reads or writes it uses this schema."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ercache.errors import UsageError
from ercache.files import write_json
from ercache.params.schema import EpcTarget, ExperimentParams, Task, task_label
from ercache.training import SCORE

RECORD: Final = "run.json"
CURVES: Final = ("train_loss", "validation_loss", SCORE, "validation_accuracy")
COMPARED_FIELDS: Final = (
    "corpus",
    "task",
    "epc_target",
    "label_set",
    "split",
    "classes",
)  # must be equal in runs that are compared


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Part):
    """A metric over seeds, as fractions (not percent): mean, sample standard deviation, 95 % confidence interval."""

    mean: float
    std: float = 0.0
    ci95: tuple[float, float] | None = None


Scores = dict[str, Score]  # metric -> score


class ClassScore(_Part):
    """Scores of one class, means over seeds; `support` counts its true utterances.

    `weighted_f1` and `weighted_accuracy` exist only in a multi-label task. They score the class's presence against its
    absence.
    """

    f1: float
    precision: float
    recall: float
    support: int
    weighted_f1: float | None = None
    weighted_accuracy: float | None = None


class FoldRecord(_Part):
    """One fold, in the record of a run over folds."""

    epochs: list[int]
    validation: Scores
    test: Scores
    missing: dict[str, dict[str, int]]
    marks: list[str]


class Provenance(_Part):
    """Where the features and labels of a run come from, and what computed it.

    Attributes:
        caches: path below the folder of caches -> sha256 in the file's head.
        encoders: feature -> encoder, version, params, weights and face policy.
        context: feature -> what it sees besides the utterance itself; None if unknown.
        run_digest: digest of everything that decides the result; for a run over folds, fold -> digest.
    """

    labels_digest: str
    manifest_digest: str
    unlabelled: Literal["keep", "drop"] = "keep"
    caches: dict[str, str]
    encoders: dict[str, dict[str, Any]]
    context: dict[str, dict[str, Any] | None]
    random_weights: bool
    leak: bool
    versions: dict[str, str]
    device: str
    threads: int
    run_digest: str | dict[str, str]


class RunRecord(_Part):
    """The record of a run.

    Attributes:
        paper_profile: whether sizes, training and encoders are the paper's.
        several: whether the task is multi-label (an utterance may have several classes).
        epochs: the chosen epoch of each seed, counted from 1; in a run over folds, fold after fold.
        parameters: number of trainable parameters.
        widths: modality or role -> size of its vectors.
        missing: subset -> modality -> number of utterances without it.
        confusion: summed over seeds, rows true, [C, C]; [C, 2, 2] in a multi-label task.
        marks: notes that the results must carry.
        folds: fold -> its record; only in a run over folds.
        over_folds: means of the folds' own test scores; only in a run over folds.
    """

    experiment: str
    model: str
    preset: str
    paper_profile: bool
    task: Task
    history: int | None
    epc_target: EpcTarget
    corpus: str
    label_set: str
    several: bool
    classes: list[str]
    split: str
    features: dict[str, list[str]]
    modalities: list[str]
    config: dict[str, Any]
    training: dict[str, Any]
    seeds: list[int]
    selected_on: Literal["validation"]
    epochs: list[int]
    parameters: int
    widths: dict[str, int]
    missing: dict[str, dict[str, int]]
    validation: Scores
    test: Scores
    per_class: dict[str, ClassScore]
    confusion: list[list[int]] | list[list[list[int]]]
    provenance: Provenance
    marks: list[str]
    folds: dict[str, FoldRecord] | None = None
    over_folds: Scores | None = None

    def as_experiment(self) -> ExperimentParams:
        """The experiment that made the run, as an entry of params.yaml."""
        fields = (
            *("model", "corpus", "task", "history", "epc_target", "label_set", "split", "features", "preset"),
        )
        return ExperimentParams(
            unlabelled=self.provenance.unlabelled, **{name: getattr(self, name) for name in fields}
        )

    @property
    def comparable(self) -> tuple[str, str, str, str]:
        """Corpus, label set, split and aim. Runs may be compared if these are equal."""
        return (self.corpus, self.label_set, self.split, task_label(self.task, self.epc_target))

    @property
    def class_scores(self) -> dict[str, ClassScore]:
        """`per_class` in the order of the classes (the file sorts its keys)."""
        return {name: self.per_class[name] for name in self.classes}

    def as_json(self) -> dict[str, Any]:
        """The fields that were set, as plain data."""
        return self.model_dump(mode="json", exclude_unset=True)


def as_json(scores: Mapping[str, Score] | Mapping[str, ClassScore]) -> dict[str, dict[str, Any]]:
    """Scores as plain data."""
    return {name: score.model_dump(mode="json", exclude_unset=True) for name, score in scores.items()}


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `run.json` of a run folder."""
    write_json(folder / RECORD, record.as_json())


def read_run(folder: Path) -> RunRecord:
    """Read `run.json` of a run folder.

    Raises:
        UsageError: the file is missing or does not fit the schema.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UsageError(
            f"{folder}: no run here ({RECORD} is missing)", hint="ercache train EXPERIMENT makes one"
        )
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or RECORD}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path}: damaged ({wrong})", hint="train the experiment again") from error


def read_curves(folder: Path) -> list[list[str]]:
    """The rows of `curves.csv` of a finished run, header first."""
    with (folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def changes_since(
    record: RunRecord, labels_digest: str | None, caches: Mapping[str, str | None]
) -> list[str]:
    """What has changed since a run was trained, in sentences that stand beside its result.

    Args:
        record: the run.
        labels_digest: digest of the manifest's labels and split now; None if there is no such split any more.
        caches: path -> sha256 now, of the caches that exist.
    """
    before = record.provenance
    changed = [
        f"{path} is not the file of the training"
        for path, digest in before.caches.items()
        if path in caches and caches[path] != digest
    ]
    if labels_digest is not None and labels_digest != before.labels_digest:
        changed.append("labels or split are not those of the training")
    return changed
