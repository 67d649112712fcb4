"""The default metric (weighted F1): it compares systems, and on validation data it chooses the best epoch of a run.

An experiment may choose another metric by `training.select` in params.yaml. It then replaces the default in training,
in hyper-parameter searches and in comparisons.
"""

from typing import Final

METRIC: Final = "weighted_f1"
SCORE: Final = f"validation_{METRIC}"


def score_of(metric: str) -> str:
    """Return the name that a metric's validation score has in `curves.csv`, such as `validation_weighted_f1`."""
    return f"validation_{metric}"
