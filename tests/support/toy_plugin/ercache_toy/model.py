"""A model: one linear layer on the sound."""

from torch import Tensor, nn

from ercache.params.schema import Strict
from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths


class Config(Strict):
    """The model has no switches."""


class Linear(nn.Module):
    """Logits of each utterance from its own features."""

    def __init__(self, widths: Widths, classes: int, config: Config) -> None:
        super().__init__()
        self.layer = nn.Linear(widths["audio"], classes)

    def forward(self, batch: Batch) -> Tensor:
        """A batch with features [B, L, D] -> logits [B, L, C]."""
        logits: Tensor = self.layer(batch.features["audio"])
        return logits


ENTRY = ModelEntry("toy_linear", "none", ("erc",), ("audio",), Config, {"base": {}}, Linear)
