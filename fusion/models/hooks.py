"""Hooks: optional methods and attributes by which a model changes its training, and their defaults.

A model defines a hook by having an attribute with the hook's name. When a model is built, `hooks_of` collects the
model's hooks. It refuses names that are similar to a hook's name, because a misspelt hook would silently do nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final

from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.data.batches import Batch
from fusion.data.stages import Stage
from fusion.layers.label_losses import Loss

LIKE: Final = 0.75  # similarity (difflib) from which a name counts as a misspelling of a hook's


@dataclass(frozen=True)
class Hooks:
    """The hooks of a model: how the model changes its own training.

    Attributes:
        objective: (batch, measure) -> the mean loss and the number of labels. `measure(logits, labels)` is the loss
            of the experiment. The default applies `measure` to the model's logits.
        minimum_steps: modality -> smallest number of steps that an utterance must have, for modalities that need more
            than one step.
        learning_rates: prefix of parameter names -> factor on the learning rate of these parameters.
        set_means: called once before training with the mean [D] of each modality over the training data.
        on_epoch_start: called before each epoch with the number of the epoch, counted from 0.
        epoch_statistics: called after each epoch; the returned values become columns of curves.csv.
        stages: takes the whole training run as one stage, and returns the stages to train instead, in order.
        flips: batch -> bool [B, L]; whether a small change of the model changes the prediction for the utterance. A
            stage with a pool of hard examples needs this hook.
    """

    objective: Callable[[Batch, Loss], tuple[Tensor, int]]
    minimum_steps: Mapping[str, int] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    set_means: Callable[[Mapping[str, Tensor]], None] = lambda means: None
    on_epoch_start: Callable[[int], None] = lambda epoch: None
    epoch_statistics: Callable[[], dict[str, float]] = dict
    stages: Callable[[Stage], Iterable[Stage]] = lambda stage: [stage]
    flips: Callable[[Batch], Tensor] | None = None


NAMES: Final = tuple(hook.name for hook in fields(Hooks))


def hooks_of(model: nn.Module) -> Hooks:
    """Collect the hooks of a model; hooks that the model does not define get their defaults.

    Raises:
        UsageError: the model has a misspelt hook, or a hook of the wrong type; the message lists all.
    """
    wrong = []
    for name in _own_names(model):
        meant = get_close_matches(name, NAMES, n=1, cutoff=LIKE)
        if name not in NAMES and meant:
            wrong.append(f"`{name}` is no hook; `{meant[0]}` is one (see fusion/models/hooks.py)")
    offered: dict[str, Any] = {name: getattr(model, name) for name in NAMES if hasattr(model, name)}
    for name, value in offered.items():
        if name in ("minimum_steps", "learning_rates"):
            fits, kind = isinstance(value, Mapping), "a mapping"
        else:
            fits, kind = callable(value), "a method"
        if not fits:
            wrong.append(f"`{name}` is {type(value).__name__}, not {kind}")
    if wrong:
        raise UsageError(
            f"model {type(model).__name__}: wrong or misspelt hooks; rename or correct these attributes",
            details=wrong,
        )

    def loss_of_logits(batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        return measure(model(batch), batch.labels)

    return Hooks(**{"objective": loss_of_logits, **offered})


def _own_names(model: nn.Module) -> list[str]:
    """Return the public attribute names of a model, without those that every `nn.Module` has."""
    inherited = set(dir(nn.Module))
    names = {name for kind in type(model).__mro__ for name in vars(kind)} | set(vars(model))
    return sorted(name for name in names if not name.startswith("_") and name not in inherited)
