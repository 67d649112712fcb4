"""Weighted F1: the mean F1 of the classes, weighted by the number of utterances of each true class."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates, ratio


def weighted_f1(rates: Rates) -> Floats:
    """Mean F1 of the C classes in each confusion matrix, weighted by the number of utterances of each true class.

    Matrices [..., C, C] give scores [...], as fractions.
    """
    return ratio((rates.f1 * rates.support).sum(-1), rates.support.sum(-1))


ENTRY: Final = Metric("weighted_f1", "Weighted F1", weighted_f1)
