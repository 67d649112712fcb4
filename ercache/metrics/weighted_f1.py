"""Weighted F1: the mean F1 of the classes, weighted by the number of utterances of each true class."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates, ratio


def weighted_f1(rates: Rates) -> Floats:
    """Weighted F1 of each confusion matrix, as a fraction: matrices [..., C, C] give scores [...]."""
    return ratio((rates.f1 * rates.support).sum(-1), rates.support.sum(-1))


ENTRY: Final = Metric("weighted_f1", "Weighted F1", weighted_f1)
