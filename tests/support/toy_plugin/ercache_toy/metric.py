"""A toy metric: the mean probability of the true class."""

import numpy as np

from ercache.metrics import Metric
from ercache.metrics.base import Floats, Ints


def confidence(truth: Ints, probabilities: Floats) -> float:
    """Mean probability of the true class, from true labels [N] and probabilities [N, C]."""
    return float(probabilities[np.arange(len(truth)), truth].mean())


ENTRY = Metric("confidence", "Confidence", of_probabilities=confidence)
