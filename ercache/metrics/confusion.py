"""Confusion matrices, and the scores that can be computed from them.

The results equal those of scikit-learn, which tests check. scikit-learn is not imported here, because that
would add seconds to the start of every command.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ercache.metrics.base import METRICS, Floats, Ints, Rates


def scores(truth: Ints, predicted: Ints, classes: int) -> dict[str, float]:
    """Compute all metrics of predictions that a confusion matrix determines, as fractions.

    Args:
        truth, predicted: true and predicted class indices of N utterances, [N].
        classes: number of classes, including classes that do not occur.

    Returns:
        A dictionary from metric key to score.
    """
    found = scores_of_confusions(confusion(truth, predicted, classes))
    return {key: float(score) for key, score in found.items()}


def per_class(truth: Ints, predicted: Ints, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1, precision, recall and support (number of utterances with this true class) of each class.

    Args:
        truth, predicted: true and predicted class indices of N utterances, [N].
        names: names of all classes, in the order of their indices.

    Returns:
        A dictionary from class name to a dictionary of `f1`, `precision`, `recall` and `support`.
    """
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
    """Confusion matrix [C, C] of C classes: numbers of utterances. Rows are true, columns are predicted classes."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def dialogue_confusions(truth: Ints, predicted: Ints, dialogue: Ints, classes: int) -> Ints:
    """Count the predictions in one confusion matrix per dialogue.

    Args:
        truth, predicted: true and predicted class indices of N utterances, [N].
        dialogue: index of the dialogue of each utterance, [N]; 0 to D - 1 for D dialogues.
        classes: number C of classes.

    Returns:
        Numbers of utterances, [D, C, C]. Rows are true, columns are predicted classes.
    """
    counts = np.zeros((int(dialogue.max()) + 1, classes, classes), dtype=np.int64)
    np.add.at(counts, (dialogue, truth, predicted), 1)
    return counts


def scores_of_confusions(counts: NDArray[Any]) -> dict[str, Floats]:
    """Compute all metrics of many confusion matrices [..., C, C] of C classes at once, as a bootstrap needs.

    Metrics for another number of classes are left out.

    Returns:
        A dictionary from metric key to scores [...].
    """
    rates, classes = Rates(counts), counts.shape[-1]
    return {
        key: metric.of_rates(rates)
        for key, metric in METRICS.items()
        if metric.of_rates is not None and metric.fits(classes)
    }


def mean_scores(counts: NDArray[Any], leading: int) -> dict[str, Floats]:
    """Compute all metrics of confusion matrices. In a multi-label task, average them over the labels.

    Each label of a multi-label task is present or absent and has a 2 x 2 matrix. The UAR of such a matrix is what the
    field calls weighted accuracy: the mean of the recall of "present" and the recall of "absent".

    Args:
        counts: confusion matrices [..., C, C] of C classes; in a multi-label task with E labels, [..., E, 2, 2].
        leading: number of leading dimensions `...`, which the scores keep.

    Returns:
        A dictionary from metric key to scores [...].
    """
    values = scores_of_confusions(counts)
    if (
        counts.ndim - 2 > leading
    ):  # the two values of a multi-label task are presence and absence, not two classes
        values = {name: value for name, value in values.items() if METRICS[name].classes is None}
    return {name: value.mean(tuple(range(leading, value.ndim))) for name, value in values.items()}
