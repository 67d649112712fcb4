"""Read run folders for the report: `run.json` and the learning curves."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ercache.metrics import scores_of_confusions
from ercache.training.selection import METRIC
from fusion.runs.schema import RunRecord
from fusion.runs.schema import read_run as read_record


@dataclass(frozen=True)
class Run:
    """A trained experiment: its run folder, and the content of `run.json` in this folder."""

    folder: Path
    record: RunRecord

    @property
    def rank(self) -> tuple[float, str]:
        """Sort key for a list of runs: the run with the best *validation* score comes first, then by name."""
        return (-self.record.validation[METRIC].mean, self.record.experiment)


# training (a seed, or a seed of a fold) -> column -> values by epoch
Curves = dict[int, dict[str, list[float]]]


def read_run(folder: Path) -> Run:
    """Read `run.json` (settings, scores and origin of a run) from a run folder.

    Raises:
        UsageError: `run.json` is damaged.
    """
    return Run(folder, read_record(folder))


def read_curves(folder: Path) -> Curves:
    """Read the learning curves of a run from `curves.csv`.

    Returns:
        Seed of the training run -> column (such as `train_loss`) -> values over the epochs. The training runs of a
            cross-validation are numbered 0, 1, ... instead. Empty if the file is absent or damaged.
    """
    curves: Curves = {}
    rank: dict[tuple[str, int], int] = {}  # trainings of folds are numbered in the order of the file
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
    """Compute test scores of the majority baseline: it always predicts the most frequent label of the train subset.

    Args:
        train: label -> number of train utterances with this label.
        test: label -> number of test utterances with this label.
        classes: the labels that are scored.

    Returns:
        A dictionary from metric to score, as a fraction; empty if train or test has no labels.
    """
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    answer = max(range(len(classes)), key=lambda c: train.get(classes[c], 0), default=0)
    if not any(train.get(c) for c in classes) or not any(test.get(c) for c in classes):
        return {}
    counts[:, answer] = [test.get(c, 0) for c in classes]
    return {metric: float(value) for metric, value in scores_of_confusions(counts).items()}
