"""Confusion matrices, and the metrics that need nothing else.

Tests hold every value equal to scikit-learn's, bit by bit. Importing scikit-learn here would add seconds to the start
of every command.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ercache.metrics.base import METRICS, Floats, Ints, Rates


def scores(truth: Ints, predicted: Ints, classes: int) -> dict[str, float]:
    """The four metrics, as fractions.

    Args:
        truth, predicted: class indices, [N].
        classes: C, also where a class does not occur.
    """
    rates = Rates(confusion(truth, predicted, classes))
    return {
        "weighted_f1": float(np.average(rates.f1, weights=rates.support)),
        "macro_f1": float(np.mean(rates.f1)),
        "accuracy": float(np.mean(truth == predicted)),
        "uar": float(np.mean(rates.recall[rates.support > 0])),
    }


def per_class(truth: Ints, predicted: Ints, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1, precision, recall and support (true utterances) of each class, in the order of the names."""
    rates = Rates(confusion(truth, predicted, len(names)))
    return {
        name: {
            "f1": float(rates.f1[c]),
            "precision": float(rates.precision[c]),
            "recall": float(rates.recall[c]),
            "support": int(rates.support[c]),
        }
        for c, name in enumerate(names)
    }


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts [C, C], rows true, columns predicted."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def dialogue_confusions(truth: Ints, predicted: Ints, dialogue: Ints, classes: int) -> Ints:
    """Counts [D, C, C] of each dialogue; `dialogue` [N] holds its rank 0..D-1 for every utterance."""
    counts = np.zeros((int(dialogue.max()) + 1, classes, classes), dtype=np.int64)
    np.add.at(counts, (dialogue, truth, predicted), 1)
    return counts


def scores_of_confusions(counts: NDArray[Any]) -> dict[str, Floats]:
    """The metrics of many confusion matrices at once: [..., C, C] -> metric -> [...].

    Equal to `scores`, which takes one set of predictions at a time: too slow for a bootstrap.
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
