"""The metric by which systems are compared, and its validation score, which chooses the epoch of a training run.

`training.select` of an experiment may name another metric for its training, its sweep and its comparisons.
"""

from typing import Final

METRIC: Final = "weighted_f1"
SCORE: Final = f"validation_{METRIC}"


def score_of(metric: str) -> str:
    """Return the name of a metric's score on validation data, as in `curves.csv`."""
    return f"validation_{metric}"
