"""Accuracy: the share of utterances whose class is predicted correctly."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates, ratio


def accuracy(rates: Rates) -> Floats:
    """Share of correct predictions in each confusion matrix of C classes: matrices [..., C, C] give scores [...]."""
    return ratio(rates.hits.sum(-1), rates.support.sum(-1))


ENTRY: Final = Metric("accuracy", "Accuracy", accuracy)
