"""Hooks of a model: defined ones are found, others have defaults, and a misspelt one is an error."""

import pytest
import torch
from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.data.batches import Batch
from fusion.layers.label_losses import Loss
from fusion.models import MODELS
from fusion.models.hooks import NAMES, hooks_of


class Plain(nn.Module):
    def forward(self, batch: Batch) -> Tensor:
        return torch.zeros(1, 2, 3)


class Own(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.minimum_steps = {"audio": 4}

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        return torch.ones(()), 7

    def context_vectors(self) -> Tensor:
        """A method that is no hook, and has no similar name."""
        return torch.zeros(1)


class Misspelt(Plain):
    def objectives(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        return torch.ones(()), 7

    def epoch_start(self, epoch: int) -> None:
        """Without its first word."""


class Unusable(Plain):
    learning_rates = 0.1


def test_a_model_without_hooks_has_the_defaults() -> None:
    hooks = hooks_of(Plain())
    assert hooks.minimum_steps == {} and hooks.epoch_statistics() == {} and hooks.flips is None
    labels = torch.zeros(1, 2, dtype=torch.long)
    batch: Batch = type("Batch", (), {"labels": labels})()
    loss, count = hooks.objective(batch, lambda logits, truth: (logits.sum(), truth.numel()))
    assert float(loss) == 0 and count == 2


def test_hooks_of_a_model_are_found() -> None:
    hooks = hooks_of(Own())
    assert hooks.minimum_steps == {"audio": 4}
    assert hooks.objective(None, None)[1] == 7  # type: ignore[arg-type]


def test_a_misspelt_hook_and_one_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(UsageError) as told:
        hooks_of(Misspelt())
    assert len(told.value.details) == 2 and all("is no hook" in line for line in told.value.details)
    with pytest.raises(UsageError) as told:
        hooks_of(Unusable())
    assert told.value.details == ("`learning_rates` is float, not a mapping",)


@pytest.mark.parametrize("key", MODELS)
def test_every_model_of_the_registry_can_be_built_with_its_hooks(key: str) -> None:
    entry = MODELS[key]
    preset = next(iter(entry.presets))
    with torch.device("meta"):
        model = entry.build(entry.widths, entry.classes, entry.resolve(preset, {}))
    assert set(vars(hooks_of(model))) == set(NAMES)
