"""UAR (unweighted average recall): the mean recall of the classes that occur."""

from typing import Final

import numpy as np

from ercache.metrics.base import Floats, Metric, Rates, ratio


def uar(rates: Rates) -> Floats:
    """Mean recall of the classes that occur, for each confusion matrix of C classes.

    Matrices [..., C, C] give scores [...], as fractions.
    """
    return ratio(rates.recall.sum(-1), (rates.support > 0).sum(-1).astype(np.float64))


ENTRY: Final = Metric("uar", "UAR", uar)
