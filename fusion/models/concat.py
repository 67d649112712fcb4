"""Baseline without context: a perceptron on the concatenated features of one utterance."""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths, join_features, joined_width


class ConcatConfig(BaseModel):
    """Switches of the baseline `concat`, a perceptron on the features of one utterance."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hidden: int = Field(64, ge=1, description="width of the hidden layer")
    dropout: float = Field(0.5, ge=0, lt=1, description="of the inputs and of the hidden layer")
    presence: bool = Field(True, description="one 0/1 input a modality: whether the utterance has it")


class Concat(nn.Module):
    """Perceptron with one hidden layer: logits = W_2 dropout(relu(W_1 dropout([text; audio; visual; presence]))).

    `presence` is one 0/1 input for each modality: whether the utterance has it.
    """

    def __init__(self, widths: Widths, classes: int, config: ConcatConfig) -> None:
        super().__init__()
        self.presence = config.presence
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(joined_width(widths, config.presence), config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, classes),
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        logits: Tensor = self.head(join_features(batch.features, batch.present, self.presence))
        return logits


ENTRY = ModelEntry(
    key="concat",
    paper="baseline: a perceptron on the joined features of one utterance, without context",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=ConcatConfig,
    presets={"small": {}, "large": {"hidden": 512}},
    build=Concat,
)
