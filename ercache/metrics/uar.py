"""UAR: the mean recall of the classes that occur."""

from typing import Final

import numpy as np

from ercache.metrics.base import Floats, Metric, Rates, ratio


def uar(rates: Rates) -> Floats:
    """[..., C, C] -> [...]."""
    return ratio(rates.recall.sum(-1), (rates.support > 0).sum(-1).astype(np.float64))


ENTRY: Final = Metric("uar", "UAR", uar)
