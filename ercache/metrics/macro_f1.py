"""Macro F1: the mean F1 of all classes."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates


def macro_f1(rates: Rates) -> Floats:
    """Mean F1 of the C classes in each confusion matrix, as a fraction: matrices [..., C, C] give scores [...]."""
    found: Floats = rates.f1.mean(-1)
    return found


ENTRY: Final = Metric("macro_f1", "Macro F1", macro_f1)
