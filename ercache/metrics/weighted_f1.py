"""Weighted F1: the mean F1 of the classes, weighted by their true utterances."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates, ratio


def weighted_f1(rates: Rates) -> Floats:
    """[..., C, C] -> [...]."""
    return ratio((rates.f1 * rates.support).sum(-1), rates.support.sum(-1))


ENTRY: Final = Metric("weighted_f1", "Weighted F1", weighted_f1)
