"""Losses of the fusion models: cross-entropy over classes, binary cross-entropy over emotions, both plain or focal."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.params.schema import TrainingParams
from ercache.training.losses import IGNORED, balanced_weights, focus, masked_cross_entropy

Loss = Callable[
    [Tensor, Tensor], tuple[Tensor, int]
]  # logits [B, L, C], labels -> mean loss, how many it is of


def loss_of(training: TrainingParams, labels: Tensor, classes: int) -> Loss:
    """The loss that an experiment trains with.

    Args:
        labels: of train, [N] for one class an utterance or [N, C] for several; decides about the weights.
    """
    several, balanced = labels.dim() == 2, training.class_weights == "balanced"
    if several:
        weights = balanced_presence(labels) if balanced else None
        return lambda logits, truth: masked_binary_cross_entropy(logits, truth, training.gamma, weights)
    weights = balanced_weights(labels, classes) if balanced else None
    return lambda logits, truth: masked_cross_entropy(logits, truth, training.gamma, weights)


def masked_binary_cross_entropy(
    logits: Tensor, labels: Tensor, gamma: float = 0.0, weights: Tensor | None = None
) -> tuple[Tensor, int]:
    """Mean -w (1 - p)^gamma log p over known labels, p the probability of what is true, and how many there are.

    Args:
        logits, labels: [..., C]; a label is 1 (there), 0 (not there) or -100 (unknown).
        gamma: 0 for plain binary cross-entropy, more for the focal loss.
        weights: w of every emotion where it is there, [C]; it is 1 where the emotion is not there.
    """
    known = labels != IGNORED
    z, y = logits[known], labels[known].to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(z, y, reduction="none")  # -log p
    if gamma:
        loss = focus((-loss).exp(), gamma) * loss
    if weights is not None:
        loss = loss * weights.expand(logits.shape)[known].where(y == 1, 1.0)
    return loss.mean(), int(known.sum())


def printed_focal(logits: Tensor, labels: Tensor, gamma: float) -> tuple[Tensor, int]:
    """Mean (1 - p)^gamma p over the labelled positions, and how many there are: AMuSE's Eq. 5 as it is printed.

    It is as low for a p of 0 as for one of 1, so nothing good is learned from it (docs/papers/amuse.md, A-4).

    Args:
        logits: [B, L, C]; labels: [B, L], -100 where there is none.
    """
    known = labels != IGNORED
    p = logits[known].softmax(-1).gather(1, labels[known][:, None])[:, 0]
    return (focus(p, gamma) * p).mean(), int(known.sum())


def balanced_presence(labels: Tensor) -> Tensor:
    """How many times more often each emotion is absent than there, [C]; 1 for one without an example.

    Args:
        labels: 1, 0 or -100, [N, C].
    """
    there, absent = ((labels == value).sum(0).float() for value in (1, 0))
    return torch.where(there > 0, absent / there, 1.0)
