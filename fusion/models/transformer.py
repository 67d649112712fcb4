"""Baseline: a plain transformer over the utterances of a dialogue."""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.layers.positions import sinusoidal
from fusion.models.base import ModelEntry, Widths, join_features, joined_width


class TransformerConfig(BaseModel):
    """Switches of the baseline `transformer`: the settings under `config` of an experiment in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    heads: int = Field(4, ge=1, description="attention heads")
    head_width: int = Field(16, ge=1, description="width of one head; the model is heads times as wide")
    layers: int = Field(2, ge=1, description="encoder layers")
    ffn: int = Field(128, ge=1, description="width inside an encoder layer")
    dropout: float = Field(0.3, ge=0, lt=1, description="of the inputs and inside the layers")
    positions: bool = Field(True, description="sine and cosine of the rank of the utterance")
    presence: bool = Field(True, description="one 0/1 input a modality: whether the utterance has it")


class Transformer(nn.Module):
    """Pre-norm transformer encoder over all utterances of a dialogue, on the concatenated features of each utterance.

    logits = W encoder(W_in [text; audio; visual; presence] + position). `presence` is one 0/1 input for each modality:
    whether the utterance has it.
    """

    def __init__(self, widths: Widths, classes: int, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.heads * config.head_width
        self.dropout = nn.Dropout(config.dropout)
        self.enter = nn.Linear(joined_width(widths, config.presence), width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.heads, config.ffn, config.dropout, batch_first=True, norm_first=True
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        H = self.enter(self.dropout(join_features(batch.features, batch.present, self.config.presence)))
        if self.config.positions:
            H = H + sinusoidal(H)
        for layer in self.layers:
            H = layer(H, src_key_padding_mask=~batch.mask)
        logits: Tensor = self.out(self.norm(H))
        return logits


ENTRY = ModelEntry(
    key="transformer",
    paper="baseline: a transformer over the utterances of a dialogue, early fusion",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=TransformerConfig,
    presets={"small": {}, "large": {"heads": 8, "head_width": 64, "layers": 4, "ffn": 1024}},
    build=Transformer,
    pair_bytes=lambda config, _: 16 * config.heads * config.layers,
)
