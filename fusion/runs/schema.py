"""The schema of `run.json`, the record of a run: how it was trained, what its data come from, and its scores."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ercache.errors import UsageError
from ercache.files import write_json
from ercache.params.schema import EpcTarget, ExperimentParams, Task
from ercache.training.selection import METRIC, SCORE
from ercache.wording import task_label

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
    """The value of a metric over all seeds, as a fraction (not percent).

    Attributes:
        mean: mean over the seeds.
        std: sample standard deviation over the seeds.
        ci95: 95 % confidence interval of the mean; None if it was not computed.
    """

    mean: float
    std: float = 0.0
    ci95: tuple[float, float] | None = None

    @property
    def in_percent(self) -> "Score":
        """The same mean, standard deviation and interval, in percent instead of fractions."""
        interval = (100 * self.ci95[0], 100 * self.ci95[1]) if self.ci95 else None
        return Score(mean=100 * self.mean, std=100 * self.std, ci95=interval)


Scores = dict[str, Score]  # metric -> score


class ClassScore(_Part):
    """Scores of one class, averaged over seeds.

    Attributes:
        support: number of utterances whose true label is this class.
        weighted_f1, weighted_accuracy: scores over presence and absence of the class; only in a multi-label task.
    """

    f1: float
    precision: float
    recall: float
    support: int
    weighted_f1: float | None = None
    weighted_accuracy: float | None = None


class FoldRecord(_Part):
    """The scores and notes (marks) of one fold, as `run.json` of a cross-validation run lists them.

    Attributes:
        epochs: the chosen epoch of each seed, counted from 1.
        validation, test: metric -> score on the dev or test subset of the fold.
        missing: subset -> modality -> number of utterances without this modality.
        marks: notes that must stand beside the results.
    """

    epochs: list[int]
    validation: Scores
    test: Scores
    missing: dict[str, dict[str, int]]
    marks: list[str]


class Provenance(_Part):
    """Where the features and labels of a run come from, and with which versions and device it was computed.

    Attributes:
        caches: path of a cache file, relative to the folder of caches -> sha256 that the file states at its beginning.
        encoders: feature -> encoder, version, params, weights and face policy.
        context: feature -> which other utterances the feature sees; None if unknown.
        random_weights: whether a feature comes from a network with random weights.
        leak: whether a feature comes from a checkpoint that was trained on test data.
        run_digest: digest of everything that decides the result; in cross-validation, fold -> digest.
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
    """The record of a run: the settings of the experiment, the scores, and where everything comes from.

    Attributes:
        deviations: in which points the run deviates from the full system of the model's paper, one sentence each; None
            if the model has no paper. Older runs lack this field.
        several: whether the task is multi-label (an utterance may have several classes).
        epochs: the chosen epoch of each seed, counted from 1; in cross-validation, fold after fold.
        parameters: number of trainable parameters.
        widths: modality, or role (an input of the model) -> feature size.
        missing: subset -> modality -> number of utterances without this modality.
        confusion: confusion matrix [C, C], summed over seeds; rows are true classes. [C, 2, 2] in a multi-label task.
        marks: notes that must stand beside the results.
        folds: fold -> scores of this fold; only in cross-validation.
        over_folds: mean and standard deviation over the folds' test scores; only in cross-validation.
    """

    experiment: str
    model: str
    preset: str
    deviations: list[str] | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _without_the_old_stamp(cls, data: Any) -> Any:
        """Drop the wrong field `paper_profile` of older runs, so that they can still be read; see `deviations`."""
        return {k: v for k, v in data.items() if k != "paper_profile"} if isinstance(data, dict) else data

    def as_experiment(self) -> ExperimentParams:
        """Return the experiment that made the run, in the form of an entry of params.yaml."""
        fields = (
            *("model", "corpus", "task", "history", "epc_target", "label_set", "split", "features", "preset"),
        )
        return ExperimentParams(
            unlabelled=self.provenance.unlabelled, **{name: getattr(self, name) for name in fields}
        )

    @property
    def select(self) -> str:
        """Key of the metric by which the epochs were chosen on validation."""
        return str(self.training.get("select", METRIC))

    @property
    def comparable(self) -> tuple[str, str, str, str]:
        """Four values that runs must share to be comparable: corpus, label set, split, task (with target if EPC)."""
        return (self.corpus, self.label_set, self.split, task_label(self.task, self.epc_target))

    @property
    def class_scores(self) -> dict[str, ClassScore]:
        """Dict from class to its scores, in the order of `classes` (`run.json` sorts the classes by name)."""
        return {name: self.per_class[name] for name in self.classes}

    def as_json(self) -> dict[str, Any]:
        """Return the record as a dict for `run.json`, without fields that were never set."""
        return self.model_dump(mode="json", exclude_unset=True)


def as_json(scores: Mapping[str, Score] | Mapping[str, ClassScore]) -> dict[str, dict[str, Any]]:
    """Return scores as JSON data: name of the metric or class -> field (such as `mean` or `f1`) -> value."""
    return {name: score.model_dump(mode="json", exclude_unset=True) for name, score in scores.items()}


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record of a run to `run.json` in the run folder."""
    write_json(folder / RECORD, record.as_json())


def read_run(folder: Path) -> RunRecord:
    """Read the record of a run from `run.json` in the run folder.

    Raises:
        UsageError: the file is missing or does not fit the schema.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UsageError(
            f"{folder}: this folder holds no run ({RECORD} is missing)",
            hint="`ercache train EXPERIMENT` makes a run",
        )
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or RECORD}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path}: damaged ({wrong})", hint="train the experiment again") from error


def read_curves(folder: Path) -> list[list[str]]:
    """Read the training curves (`curves.csv`) of a finished run as rows; the first row is the header."""
    with (folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def changes_since(
    record: RunRecord, labels_digest: str | None, caches: Mapping[str, str | None]
) -> list[str]:
    """Find out whether labels, split or caches have changed since a run was trained; return one sentence for each.

    Args:
        record: the contents of the run's `run.json`.
        labels_digest: digest of the labels and the split in the manifest as they are now; None to skip this check.
        caches: path of a cache file -> sha256 of the file as it is now; other caches are not checked.
    """
    before = record.provenance
    changed = [
        f"{path} has changed since the training"
        for path, digest in before.caches.items()
        if path in caches and caches[path] != digest
    ]
    if labels_digest is not None and labels_digest != before.labels_digest:
        changed.append("labels or split have changed since the training")
    return changed
