"""Run folders as the report reads them: `run.json` and the learning curves."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ercache.metrics import scores_of_confusions
from ercache.params.schema import task_label

METRICS = {"weighted_f1": "Weighted F1", "accuracy": "Accuracy", "macro_f1": "Macro F1", "uar": "UAR"}


class Score(BaseModel):
    """A metric over seeds, as fractions: mean, standard deviation over seeds, 95 % interval."""

    mean: float
    std: float = 0.0
    ci95: tuple[float, float] | None = None


class ClassScore(BaseModel):
    """Scores of one class on test, mean over seeds."""

    f1: float
    precision: float
    recall: float
    support: float


class Provenance(BaseModel):
    """What a run says about what it was made from; `caches` is path -> sha256, `context` feature -> reach."""

    labels_digest: str | None = None
    caches: dict[str, str] = {}
    context: dict[str, dict[str, int | str] | None] = {}
    random_weights: bool = False
    leak: bool = False


class FoldScores(BaseModel):
    """What a run says of one of its folds."""

    epochs: list[int] = []
    validation: dict[str, Score] = {}
    test: dict[str, Score] = {}


class RunFile(BaseModel):
    """What the report uses of a `run.json`; other keys are left alone."""

    experiment: str
    model: str
    corpus: str
    label_set: str
    split: str
    classes: list[str]
    task: str = "erc"
    epc_target: str = "next_utterance"
    preset: str = ""
    paper_profile: bool = False
    features: dict[str, list[str]] = {}
    seeds: list[int] = []
    epochs: list[int] = []
    parameters: int = 0
    validation: dict[str, Score]
    test: dict[str, Score]
    per_class: dict[str, ClassScore] = {}
    several: bool = False
    folds: dict[str, "FoldScores"] | None = None
    confusion: list[list[float]] | list[list[list[float]]] = []
    missing: dict[str, dict[str, int]] = {}
    provenance: Provenance = Provenance()
    marks: list[str] = []

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Runs with the same corpus, label set, split and task may be compared."""
        return (self.corpus, self.label_set, self.split, task_label(self.task, self.epc_target))

    @property
    def chosen_by(self) -> tuple[float, str]:
        """Sort key: the best run on *validation* comes first."""
        score = self.validation.get("weighted_f1")
        return (-score.mean if score else math.inf, self.experiment)


@dataclass(frozen=True)
class Run:
    """A run folder and its `run.json`."""

    folder: Path
    record: RunRecord

    @property
    def rank(self) -> tuple[float, str]:
        """Sort key: the best run on *validation* comes first."""
        return (-self.record.validation[METRIC].mean, self.record.experiment)


Curves = dict[
    int, dict[str, list[float]]
]  # training (a seed, or a seed of a fold) -> column -> values by epoch


def read_run(folder: Path) -> Run:
    """A run folder, by its `run.json`.

    Raises:
        UsageError: the file is not what a run writes.
    """
    return Run(folder, read_record(folder))


def read_curves(folder: Path) -> Curves:
    """Training -> column -> values by epoch, from `curves.csv`; empty when there is none or it cannot be read."""
    curves: Curves = {}
    rank: dict[tuple[str, int], int] = {}  # trainings of folds are numbered as they come
    try:
        with (folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                fold, seed = row.pop("fold", ""), int(row.pop("seed"))
                key = rank.setdefault((fold, seed), len(rank)) if fold else seed
                columns = curves.setdefault(key, {})
                for name, value in row.items():
                    columns.setdefault(name, []).append(_finite(value))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return curves


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {text}")
    return value


def majority_floor(train: Mapping[str, int], test: Mapping[str, int], classes: list[str]) -> dict[str, float]:
    """Scores of always answering the most frequent label of `train`, from label counts alone.

    Returns:
        Metric -> fraction; empty when a part has no label.
    """
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    answer = max(range(len(classes)), key=lambda c: train.get(classes[c], 0), default=0)
    if not any(train.get(c) for c in classes) or not any(test.get(c) for c in classes):
        return {}
    counts[:, answer] = [test.get(c, 0) for c in classes]
    return {metric: float(value) for metric, value in scores_of_confusions(counts).items()}
