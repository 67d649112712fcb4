"""Baseline of prediction (EPC): predicts the last known label in the dialogue, whoever the speaker was."""

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths


class CopyLastConfig(BaseModel):
    """Config of the baseline `copy_last`, which has no switches."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CopyLast(nn.Module):
    """Predicts that the emotion stays the same: logits = softplus(stay) y_last, with the learned scale `stay`.

    y_last is the true label of the last labelled utterance in the context, by any speaker. If there is none, the model
    predicts the most frequent class. The model does not use features.

    Scores on MELD (UAR 27.29): docs/papers/cues.md, section 7.
    """

    def __init__(self, widths: Widths, classes: int, config: CopyLastConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))
        self.stay = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        nothing = self.bias.expand(*batch.mask.shape, -1)
        if batch.prior_labels is None:
            return nothing
        several = batch.prior_labels.dim() == 3
        known = (batch.prior_labels != IGNORED).any(-1) if several else batch.prior_labels != IGNORED
        position = torch.arange(known.shape[1], device=known.device).where(known, -1)
        last = position.cummax(1).values  # [B, L]; -1 before the first label
        at = last.clamp(min=0)
        if several:
            y = batch.prior_labels.gather(1, at.unsqueeze(-1).expand_as(batch.prior_labels))
            copied = (2.0 * y - 1).where(y != IGNORED, 0.0)
        else:
            copied = F.one_hot(batch.prior_labels.gather(1, at).clamp(min=0), len(self.bias)).to(
                nothing.dtype
            )
        return (F.softplus(self.stay) * copied).where((last >= 0).unsqueeze(-1), nothing)


ENTRY = ModelEntry(
    key="copy_last",
    paper="baseline of prediction: the label of the last utterance",
    tasks=("epc",),
    modalities=("text", "audio", "visual"),
    config=CopyLastConfig,
    presets={"small": {}},
    build=CopyLast,
)
