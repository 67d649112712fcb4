"""Losses of the fusion models: cross-entropy (single-label) and binary cross-entropy (multi-label), plain or focal."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.params.schema import TrainingParams
from ercache.training.losses import IGNORED, balanced_weights, focus, masked_cross_entropy

# (logits [B, L, C], labels) -> the mean loss, and the number of labels
Loss = Callable[[Tensor, Tensor], tuple[Tensor, int]]


def loss_of(training: TrainingParams, labels: Tensor, classes: int) -> Loss:
    """Make the loss function of an experiment. It maps (logits, labels) to the mean loss and the number of labels.

    Args:
        training: training params of the experiment, such as class weights and gamma of the focal loss.
        labels: labels of the N training utterances, [N], or [N, C] in a multi-label task with C classes; balanced
            class weights are computed from them.
        classes: number C of classes.
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
    """Compute binary (focal) cross-entropy over all labels that are not -100: the mean of -w (1 - p)^gamma log p.

    p is the predicted probability of the true value (present or absent).

    Args:
        logits, labels: [..., C] for C emotions; a label is 1 (present), 0 (absent) or -100 (no label).
        gamma: 0 for plain binary cross-entropy, above 0 for the focal loss.
        weights: weight w of each emotion for labels 1 (present), [C]; labels 0 have the weight 1.

    Returns:
        Two values: the mean loss, and the number of labels that are not -100.
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
    """Compute Eq. 5 of AMuSE exactly as printed: the mean of (1 - p)^gamma p, with p the probability of the true class.

    This loss is 0 for p = 0 as well as for p = 1, so a model learns nothing useful from it.

    Args:
        logits: [B, L, C] (dialogues, utterances, classes).
        labels: class indices [B, L]; -100 where there is no label.
        gamma: exponent of the focal loss.

    Returns:
        Two values: the mean loss over the labelled utterances, and the number of labelled utterances.

    Source: docs/papers/amuse.md, A-4.
    """
    known = labels != IGNORED
    p = logits[known].softmax(-1).gather(1, labels[known][:, None])[:, 0]
    return (focus(p, gamma) * p).mean(), int(known.sum())


def balanced_presence(labels: Tensor) -> Tensor:
    """Return a weight for each of C emotions, higher for rare ones: number of labels 0 / number of labels 1, [C].

    Args:
        labels: labels of N utterances, [N, C], with 1 (present), 0 (absent) and -100 (no label). An emotion without any
            label 1 gets the weight 1.
    """
    present, absent = ((labels == value).sum(0).float() for value in (1, 0))
    return torch.where(present > 0, absent / present, 1.0)
