"""Scores of predictions over several seeds, with bootstrap confidence intervals.

Each metric is one file with an `ENTRY`. Most metrics need only a confusion matrix; some need probabilities. A class
index is an int in 0..C-1 for C classes. Only labelled utterances count. A class that is never true and never predicted
has the F1 score 0, which counts in the macro mean. UAR is the mean recall over the classes that occur.
"""

from ercache.metrics.base import METRICS, Metric, in_order
from ercache.metrics.bootstrap import (
    DRAWS,
    intervals,
    percentiles,
    probability_summary,
    resampled_means,
    rng_draws,
    summary,
)
from ercache.metrics.confusion import (
    confusion,
    dialogue_confusions,
    mean_scores,
    per_class,
    scores,
    scores_of_confusions,
)

__all__ = [
    "DRAWS",
    "METRICS",
    "Metric",
    "confusion",
    "dialogue_confusions",
    "in_order",
    "intervals",
    "mean_scores",
    "per_class",
    "percentiles",
    "probability_summary",
    "resampled_means",
    "rng_draws",
    "scores",
    "scores_of_confusions",
    "summary",
]
