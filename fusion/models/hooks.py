"""What a model may offer to its training beside `forward`, with what holds for a model that does not.

A model offers a hook by having an attribute of its name. `hooks_of` collects them when the model is built; a name that
is nearly a hook's is refused, since a misspelt hook would be ignored in silence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final

from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.data.batches import Batch
from fusion.data.stages import Stage
from fusion.layers.losses import Loss

LIKE: Final = 0.75  # similarity of two names (difflib) from which one is taken for the other's misspelling


@dataclass(frozen=True)
class Hooks:
    """The hooks of a model.

    Attributes:
        objective: (batch, measure) -> mean loss and the number of examples. `measure(logits, labels)` is the
            experiment's loss. By default it is taken of the model's logits.
        minimum_steps: modality -> steps that the model needs of an utterance, where that is more than one.
        learning_rates: beginning of parameters' names -> share of the learning rate that they get.
        set_means: called once before training with the mean of each modality over train, [D].
        on_epoch_start: called before each epoch with its number, from 0.
        epoch_statistics: called after each epoch; what it returns becomes columns of curves.csv.
        stages: the experiment's training -> the trainings that the model has in its place, one after the other.
        flips: batch -> whose prediction changes with a small change of the model, bool [B, L]; a stage with a pool
            needs it.
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
    """The hooks that a model offers, and the defaults of the others.

    Raises:
        UsageError: a name of the model is nearly a hook's, or a hook is of the wrong kind; with all of them.
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
        raise UsageError(f"model {type(model).__name__}: unusable hooks", details=wrong)

    def loss_of_logits(batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        return measure(model(batch), batch.labels)

    return Hooks(**{"objective": loss_of_logits, **offered})


def _own_names(model: nn.Module) -> list[str]:
    """Public names that the model's own classes and its constructor define."""
    inherited = set(dir(nn.Module))
    names = {name for kind in type(model).__mro__ for name in vars(kind)} | set(vars(model))
    return sorted(name for name in names if not name.startswith("_") and name not in inherited)
