"""Baseline: always predicts the most frequent class."""

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths


class MajorityConfig(BaseModel):
    """Config of the baseline `majority`, which has no switches."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Majority(nn.Module):
    """Predicts the most frequent class: one trained bias vector serves as the logits of all utterances.

    In training, this vector learns the frequencies of the classes.
    """

    def __init__(self, widths: Widths, classes: int, config: MajorityConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        return self.bias.expand(*batch.mask.shape, -1)


ENTRY = ModelEntry(
    key="majority",
    paper="baseline: the most frequent class of train",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=MajorityConfig,
    presets={"small": {}},
    build=Majority,
)
