"""Binary F1: the F1 of the second of two classes, such as `positive` of `negative, positive`."""

from typing import Final

from ercache.metrics.base import Floats, Metric, Rates


def binary_f1(rates: Rates) -> Floats:
    """F1 of the second class, for each confusion matrix of two classes.

    Matrices [..., 2, 2] give scores [...], as fractions.
    """
    return rates.f1[..., 1]


ENTRY: Final = Metric("binary_f1", "Binary F1", binary_f1, classes=2)
