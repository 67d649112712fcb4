"""Baseline without context: logistic regression on the concatenated features of one utterance."""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths, join_features, joined_width


class LogisticConfig(BaseModel):
    """Switches of the baseline `logistic`; the strength of its L2 penalty is the training param `weight_decay`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    presence: bool = Field(True, description="one 0/1 input a modality: whether the utterance has it")


class Logistic(nn.Module):
    """Multinomial logistic regression: logits = W [text; audio; visual; presence] + b.

    `presence` is one 0/1 input for each modality: whether the utterance has it.
    """

    def __init__(self, widths: Widths, classes: int, config: LogisticConfig) -> None:
        super().__init__()
        self.presence = config.presence
        self.linear = nn.Linear(joined_width(widths, config.presence), classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        logits: Tensor = self.linear(join_features(batch.features, batch.present, self.presence))
        return logits


ENTRY = ModelEntry(
    key="logistic",
    paper="baseline: multinomial logistic regression, without context",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=LogisticConfig,
    presets={"small": {}},
    build=Logistic,
)
