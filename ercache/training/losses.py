"""Losses that trainings share: cross-entropy of labelled positions, class weights, weight penalty."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.params.schema import TrainingParams

IGNORED = -100  # label of a position that carries no loss: padding, unlabelled, outside the split


TINY = 1e-12


def masked_cross_entropy(
    logits: Tensor, labels: Tensor, gamma: float = 0.0, weights: Tensor | None = None
) -> tuple[Tensor, int]:
    """Mean -(1 - p)^gamma log p of the true class over the labelled positions, and how many there are.

    Args:
        logits: [B, L, C].
        labels: [B, L], -100 where there is none.
        gamma: 0 for plain cross-entropy, more for the focal loss.
        weights: of the classes, [C]; the mean is then the weighted one.

    Source: M2FNet, Eq. 14, whose 1 / (M k) is read as 1 / sum_i k_i; AMuSE, Eq. 5, with the sign corrected.
    """
    flat, truth = logits.flatten(0, 1), labels.flatten()
    count = int((truth != IGNORED).sum())
    if gamma == 0:
        return F.cross_entropy(flat, truth, weights, ignore_index=IGNORED), count
    known = truth != IGNORED
    log_p = flat[known].log_softmax(-1).gather(1, truth[known, None])[:, 0]
    weight = torch.ones_like(log_p) if weights is None else weights[truth[known]]
    return -(weight * focus(log_p.exp(), gamma) * log_p).sum() / weight.sum(), count


def focus(p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma, the weight of the focal loss; below gamma 1, where the slope at 0 is infinite, 1 - p >= TINY."""
    doubt = 1 - p
    return (doubt if gamma >= 1 else doubt.clamp(min=TINY)) ** gamma


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Class weights N / (C n_c), [C]; 1 for a class without an example.

    Args:
        labels: class indices, -100 where there is none, any shape.
    """
    counts = torch.bincount(labels[labels != IGNORED].flatten(), minlength=classes).float()
    return (counts.sum() / (classes * counts)).where(counts > 0, 1.0)


def penalty(model: nn.Module, params: TrainingParams) -> Tensor | None:
    """The term that weight_decay adds to the loss; None if it acts through the optimizer instead."""
    if params.l2 == "decay":
        return None
    norm: Tensor = torch.stack([torch.linalg.vector_norm(p) for p in model.parameters()]).norm()
    size = norm.square() if params.l2 == "squared" else norm
    return size * params.weight_decay
