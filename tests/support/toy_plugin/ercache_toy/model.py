"""A toy model: one linear layer on the audio feature."""

from torch import Tensor, nn

from ercache.params.schema import Strict
from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths


class Config(Strict):
    """The model has no switches."""


class Linear(nn.Module):
    """Model that computes the logits of each utterance from its own audio feature."""

    def __init__(self, widths: Widths, classes: int, config: Config) -> None:
        super().__init__()
        self.layer = nn.Linear(widths["audio"], classes)

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits [B, L, C] for a batch with audio features [B, L, D]."""
        logits: Tensor = self.layer(batch.features["audio"])
        return logits


ENTRY = ModelEntry("toy_linear", "none", ("erc",), ("audio",), Config, {"base": {}}, Linear)
