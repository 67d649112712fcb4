"""Losses of the fusion models: cross-entropy for classes and binary cross-entropy for emotions, plain or focal."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.params.schema import TrainingParams
from ercache.training.losses import IGNORED, balanced_weights, focus, masked_cross_entropy

# (logits [B, L, C], labels) -> the mean loss, and the number of labels
Loss = Callable[[Tensor, Tensor], tuple[Tensor, int]]


def loss_of(training: TrainingParams, labels: Tensor, classes: int) -> Loss:
    """Make the loss of an experiment.

    Args:
        training: its training params (class weights, gamma of the focal loss).
        labels: labels of train, [N], or [N, C] in a multi-label task. Balanced class weights are computed from them.
        classes: C.
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
    """Mean of -w (1 - p)^gamma log p over the known labels, where p is the probability of the true value.

    Args:
        logits, labels: [..., C]; a label is 1 (present), 0 (absent) or -100 (unknown).
        gamma: 0 for plain binary cross-entropy, greater for the focal loss.
        weights: w of each emotion where it is present, [C]; w is 1 where it is absent.

    Returns:
        The mean loss, and the number of known labels.
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
    """Mean of (1 - p)^gamma p over the labelled positions: Eq. 5 of AMuSE exactly as printed.

    It is 0 for p = 0 as well as for p = 1, so a model learns nothing useful from it.

    Args:
        logits: [B, L, C].
        labels: [B, L]; -100 where there is none.
        gamma: exponent of the focal loss.

    Returns:
        The mean loss, and the number of labels.

    Source: docs/papers/amuse.md, A-4.
    """
    known = labels != IGNORED
    p = logits[known].softmax(-1).gather(1, labels[known][:, None])[:, 0]
    return (focus(p, gamma) * p).mean(), int(known.sum())


def balanced_presence(labels: Tensor) -> Tensor:
    """Weights for imbalanced emotions: number of absent labels over number of present ones, [C]; 1 without examples.

    Args:
        labels: [N, C] of 1, 0 and -100.
    """
    present, absent = ((labels == value).sum(0).float() for value in (1, 0))
    return torch.where(present > 0, absent / present, 1.0)
