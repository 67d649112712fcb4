"""Confusion matrices, and the metrics that need nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from ercache.metrics.base import METRICS, Floats, Ints, Rates


def scores(truth: Ints, predicted: Ints, classes: int) -> dict[str, float]:
    """The four metrics, as fractions.

    Args:
        truth, predicted: class indices, [N].
        classes: C, also where a class does not occur.
    """
    _, recall, f1, support = _by_class(truth, predicted, classes)
    return {
        "weighted_f1": float(np.average(f1, weights=support)),
        "macro_f1": float(np.mean(f1)),
        "accuracy": float(accuracy_score(truth, predicted)),
        "uar": float(np.mean(recall[support > 0])),
    }


def per_class(truth: Ints, predicted: Ints, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1, precision, recall and support (true utterances) of each class, in the order of the names."""
    precision, recall, f1, support = _by_class(truth, predicted, len(names))
    return {
        name: {
            "f1": float(f1[c]),
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "support": int(support[c]),
        }
        for c, name in enumerate(names)
    }


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts [C, C], rows true, columns predicted."""
    counts: Ints = confusion_matrix(truth, predicted, labels=np.arange(classes)).astype(np.int64)
    return counts


def dialogue_confusions(truth: Ints, predicted: Ints, dialogue: Ints, classes: int) -> Ints:
    """Counts [D, C, C] of each dialogue; `dialogue` [N] holds its rank 0..D-1 for every utterance."""
    counts = np.zeros((int(dialogue.max()) + 1, classes, classes), dtype=np.int64)
    np.add.at(counts, (dialogue, truth, predicted), 1)
    return counts


def scores_of_confusions(counts: NDArray[Any]) -> dict[str, Floats]:
    """The metrics of many confusion matrices at once: [..., C, C] -> metric -> [...].

    Equal to `scores` (a test compares them); scikit-learn takes one set of predictions at a time, which is too slow
    for a bootstrap.
    """
    rates = Rates(counts)
    return {key: metric.of_rates(rates) for key, metric in METRICS.items() if metric.of_rates is not None}


def mean_scores(counts: NDArray[Any], leading: int) -> dict[str, Floats]:
    """The metrics of confusion matrices; of several labels an utterance, their mean over the labels.

    Args:
        counts: [..., C, C], or [..., E, 2, 2] for E labels that are each there or not; the metrics of such a label are
            those of its two values, so that UAR is the field's weighted accuracy (TP / P + TN / N) / 2.
        leading: number of the dimensions `...`, which the result keeps.
    """
    values = scores_of_confusions(counts)
    return {name: value.mean(tuple(range(leading, value.ndim))) for name, value in values.items()}


def _by_class(truth: Ints, predicted: Ints, classes: int) -> tuple[Floats, Floats, Floats, Ints]:
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(classes), zero_division=0
    )
    return precision, recall, f1, support
