"""Losses that several models use: masked cross-entropy, class weights for it, and a penalty on large weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.params.schema import TrainingParams

IGNORED = -100  # label of a position that carries no loss: padding, unlabelled, outside the split


TINY = 1e-12


def masked_cross_entropy(
    logits: Tensor, labels: Tensor, gamma: float = 0.0, weights: Tensor | None = None
) -> tuple[Tensor, int]:
    """Cross-entropy or focal loss: the mean of -(1 - p)^gamma log p of the true class, over labelled utterances.

    p is the predicted probability of the true class.

    Args:
        logits: scores [B, L, C] of C classes, for B dialogues of L utterances.
        labels: true class indices [B, L]; -100 where there is no label.
        gamma: exponent of the focal loss; 0 gives plain cross-entropy.
        weights: class weights [C]. If given, each utterance counts by the weight of its true class.

    Returns:
        Two values: the loss, and the number of labelled utterances.

    Source: M2FNet, Eq. 14, where we divide the sum over all utterances by the number of labelled utterances; AMuSE,
        Eq. 5, with the sign corrected.
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
    """(1 - p)^gamma: the weight of each utterance in the focal loss; p is the probability of its true class.

    For gamma below 1, the slope at p = 1 is infinite. There, 1 - p is raised to at least `TINY`.
    """
    doubt = 1 - p
    return (doubt if gamma >= 1 else doubt.clamp(min=TINY)) ** gamma


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Class weights that make rare classes count more in the loss: N / (C n_c) for class c.

    N is the number of labels, n_c the number of labels of class c, and C the number of classes.

    Args:
        labels: class indices, an array of any shape; -100 where there is no label.
        classes: number C of classes.

    Returns:
        The weights, [C]; 1 for a class without labels.
    """
    counts = torch.bincount(labels[labels != IGNORED].flatten(), minlength=classes).float()
    return (counts.sum() / (classes * counts)).where(counts > 0, 1.0)


def penalty(model: nn.Module, params: TrainingParams) -> Tensor | None:
    """Term that is added to the loss to keep the weights of a model small: weight_decay times a norm of all weights.

    If `params.l2` is `squared`, the norm is squared. If it is `decay`, the optimizer applies the weight decay, and
    None is returned.
    """
    if params.l2 == "decay":
        return None
    norm: Tensor = torch.stack([torch.linalg.vector_norm(p) for p in model.parameters()]).norm()
    size = norm.square() if params.l2 == "squared" else norm
    return size * params.weight_decay
