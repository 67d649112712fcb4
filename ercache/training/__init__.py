"""The training loop of every network, with its losses, optimizers and what makes it deterministic."""

from typing import Final

METRIC: Final = "weighted_f1"  # by which systems are chosen and compared
SCORE: Final = f"validation_{METRIC}"  # by which the epoch is chosen
