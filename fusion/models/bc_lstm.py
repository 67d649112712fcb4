"""bc-LSTM: a bidirectional LSTM over the utterances of a dialogue."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths, join_features, joined_width


class BcLstmConfig(BaseModel):
    """Switches of bc-LSTM: the settings under `config` of an experiment in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hidden: int = Field(64, ge=1, description="width of the LSTM in each direction")
    layers: int = Field(1, ge=1, description="LSTM layers")
    dense: int = Field(64, ge=1, description="width of the hidden layer of the head")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="of the inputs, of the states and of the hidden layer"
    )
    input_skip: bool = Field(True, description="the head also sees the features themselves (ours)")
    bidirectional: bool = Field(True, description="False: past utterances only")
    presence: bool = Field(True, description="one 0/1 input a modality: whether the utterance has it (ours)")


class BcLstm(nn.Module):
    """Contextual LSTM of "Context-Dependent Sentiment Analysis in User-Generated Videos" (Poria et al., ACL 2017).

    The paper trains one network for each modality, and a second network on their outputs. This model is the
    early-fusion form: one network on the concatenated features of all modalities.
    """

    def __init__(self, widths: Widths, classes: int, config: BcLstmConfig) -> None:
        super().__init__()
        self.config = config
        width = joined_width(widths, config.presence)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(
            width,
            config.hidden,
            num_layers=config.layers,
            dropout=config.dropout if config.layers > 1 else 0.0,
            bidirectional=config.bidirectional,
            batch_first=True,
        )
        states = config.hidden * (2 if config.bidirectional else 1)
        self.dense = nn.Linear(states + (width if config.input_skip else 0), config.dense)
        self.out = nn.Linear(config.dense, classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        x = self.dropout(join_features(batch.features, batch.present, self.config.presence))
        # Packed, so that the backward direction starts at the last utterance and not in the padding.
        lengths = batch.mask.sum(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        h = self.dropout(h)
        skip = [x] if self.config.input_skip else []
        z = self.dropout(self.dense(torch.cat([h, *skip], dim=-1)).relu())
        logits: Tensor = self.out(z)
        return logits


ENTRY = ModelEntry(
    key="bc_lstm",
    paper="Context-Dependent Sentiment Analysis in User-Generated Videos (Poria et al., ACL 2017), early fusion",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=BcLstmConfig,
    presets={"small": {}, "large": {"hidden": 300, "dense": 300}},
    build=BcLstm,
)
