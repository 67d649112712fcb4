"""Optimizers and learning rate schedules, built from training params."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

from ercache.params.schema import TrainingParams

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


@dataclass(frozen=True)
class Stepping:
    """Optimizer and learning rate schedule of a training run that does not use those of `TrainingParams`.

    Attributes:
        optimizer: function that builds the optimizer for a model.
        schedule: function that builds the learning rate schedule, which advances after every step. If None, the
            learning rate is constant.
        accumulate: number of batches whose gradients are averaged for one step.
    """

    optimizer: Callable[[nn.Module], Optimizer]
    schedule: Callable[[Optimizer], LRScheduler] | None = None
    accumulate: int = 1


def optimizer_of(
    model: nn.Module, params: TrainingParams, learning_rates: Mapping[str, float] | None = None
) -> Optimizer:
    """Build the optimizer that `params.optimizer` names, for all parameters of a model.

    Args:
        model: the network to train.
        params: optimizer, learning rate, weight decay and momentum.
        learning_rates: dictionary from a beginning of parameter names to a factor. Parameters whose names begin so get
            the learning rate times the factor; all others get the learning rate itself.
    """
    rates = learning_rates or {}
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = next((share for prefix, share in rates.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(rate, []).append(parameter)
    momentum = (
        {"momentum": params.momentum, "dampening": params.dampening} if params.optimizer == "sgd" else {}
    )
    return OPTIMIZERS[params.optimizer](
        [{"params": held, "lr": params.lr * rate} for rate, held in groups.items()],
        lr=params.lr,
        weight_decay=params.weight_decay if params.l2 == "decay" else 0.0,
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
        **momentum,
    )


def by_epochs(optimizer: Optimizer, params: TrainingParams) -> LRScheduler | None:
    """Build the learning rate schedule `cosine` or `steps`, which advances after every epoch and needs no scores.

    Returns:
        The schedule, or None if `params.schedule` is neither `cosine` nor `steps`.
    """
    if params.schedule == "cosine" and params.warmup:
        return LambdaLR(optimizer, lambda epoch: warmed_cosine(epoch, params.epochs, params.warmup))
    if params.schedule == "cosine":
        return CosineAnnealingLR(optimizer, params.epochs)
    if params.schedule == "steps":
        return MultiStepLR(optimizer, params.milestones)
    return None


def warmed_cosine(epoch: int, epochs: int, warmup: float) -> float:
    """Factor by which the learning rate is multiplied in one epoch.

    Over the epochs, the factor rises linearly from 0 to 1 (warm-up), then falls to 0 along a cosine. In the warm-up,
    the factor of an epoch is the value of the rising line in the middle of this epoch.

    Args:
        epoch: number of the epoch, counted from 0.
        epochs: number of all epochs.
        warmup: share of the epochs that belong to the warm-up.
    """
    rise = warmup * epochs
    if epoch < rise:
        return min(1.0, (epoch + 0.5) / rise)
    return (1 + math.cos(math.pi * (epoch - rise) / (epochs - rise))) / 2
