"""Scores of predictions: weighted F1, macro F1, accuracy, UAR, per class, and their bootstrap intervals.

A class index is an int in 0..C-1; every function takes labelled utterances only. F1 of a class that is neither
true nor predicted is 0 and counts in the macro mean; UAR is the mean recall over the classes that occur.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

METRICS = ("weighted_f1", "macro_f1", "accuracy", "uar")
DRAWS = 2000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


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
    """The four metrics of many confusion matrices at once: [..., C, C] -> metric -> [...].

    Equal to `scores` (a test compares them); scikit-learn takes one set of predictions at a time, which is too
    slow for a bootstrap.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    support = counts.sum(-1).astype(np.float64)
    total = support.sum(-1)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, support + counts.sum(-2))
    return {
        "weighted_f1": _ratio((f1 * support).sum(-1), total),
        "macro_f1": f1.mean(-1),
        "accuracy": _ratio(hits.sum(-1), total),
        "uar": _ratio(recall.sum(-1), (support > 0).sum(-1).astype(np.float64)),
    }


def mean_scores(counts: NDArray[Any], leading: int) -> dict[str, Floats]:
    """The four metrics of confusion matrices; of several labels an utterance, their mean over the labels.

    Args:
        counts: [..., C, C], or [..., E, 2, 2] for E labels that are each there or not; the metrics of such a label are
            those of its two values, so that UAR is the field's weighted accuracy (TP / P + TN / N) / 2.
        leading: number of the dimensions `...`, which the result keeps.
    """
    values = scores_of_confusions(counts)
    return {name: value.mean(tuple(range(leading, value.ndim))) for name, value in values.items()}


def resampled_scores(counts: Ints, dialogues: Ints) -> dict[str, Floats]:
    """Metrics of resampled dialogues, for each seed.

    Args:
        counts: of each seed and dialogue, [S, D, C, C] or [S, D, E, 2, 2] (see `mean_scores`).
        dialogues: how often each dialogue was drawn, [R, D].

    Returns:
        metric -> [R, S].
    """
    seeds, size, *matrix = counts.shape
    # In float64 a matrix product runs in BLAS, and counts stay exact.
    drawn = dialogues.astype(np.float64) @ counts.reshape(seeds, size, -1).astype(np.float64)  # [S, R, C * C]
    return mean_scores(drawn.reshape(seeds, -1, *matrix).swapaxes(0, 1), leading=2)


def resampled_means(counts: Ints, seeds: Ints, dialogues: Ints) -> dict[str, Floats]:
    """Metrics of resampled dialogues, mean over resampled seeds.

    Args:
        counts: of each seed and dialogue, [S, D, C, C] or [S, D, E, 2, 2].
        seeds: how often each seed was drawn, [R, S].
        dialogues: how often each dialogue was drawn, [R, D].

    Returns:
        metric -> [R].
    """
    share = seeds / counts.shape[0]
    resampled = resampled_scores(counts, dialogues)
    return {name: (values * share).sum(-1) for name, values in resampled.items()}


def intervals(counts: Ints, *, draws: int = DRAWS, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals of the mean over seeds, by a bootstrap over dialogues and seeds together.

    Utterances of a dialogue are not independent, so whole dialogues are drawn.

    Args:
        counts: of each seed and dialogue, [S, D, C, C] or [S, D, E, 2, 2].
    """
    rng = np.random.default_rng(seed)
    seeds = rng_draws(rng, counts.shape[0], draws)
    resampled = resampled_means(counts, seeds, rng_draws(rng, counts.shape[1], draws))
    return {name: percentiles(values) for name, values in resampled.items()}


def rng_draws(rng: np.random.Generator, size: int, draws: int) -> Ints:
    """How often each of `size` things is drawn when `size` are drawn with replacement, [draws, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws)


def percentiles(values: Floats) -> tuple[float, float]:
    """The central 95 % of bootstrap values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def summary(counts: Ints) -> dict[str, dict[str, Any]]:
    """Each metric over seeds: mean, sample standard deviation (0 for one seed) and 95 % interval.

    Args:
        counts: of each seed and dialogue, [S, D, C, C] or [S, D, E, 2, 2].
    """
    by_seed = mean_scores(counts.sum(1), leading=1)
    bounds = intervals(counts)
    return {
        name: {
            "mean": float(values.mean()),
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "ci95": list(bounds[name]),
        }
        for name, values in by_seed.items()
    }


def _by_class(truth: Ints, predicted: Ints, classes: int) -> tuple[Floats, Floats, Floats, Ints]:
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(classes), zero_division=0
    )
    return precision, recall, f1, support


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
