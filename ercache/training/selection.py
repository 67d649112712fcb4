"""The metric by which systems are compared, and the validation score by which the epoch of a training run is chosen."""

from typing import Final

METRIC: Final = "weighted_f1"
SCORE: Final = f"validation_{METRIC}"
