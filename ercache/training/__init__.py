"""What all training runs share: the training loop, losses, optimizers, and deterministic settings."""

from typing import Final

METRIC: Final = "weighted_f1"  # by which systems are chosen and compared
SCORE: Final = f"validation_{METRIC}"  # by which the epoch is chosen
