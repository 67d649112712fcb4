"""RoBERTa as part of Cues (`cache_text: false`): from token ids to states, with trained speaker tokens.

Source: docs/papers/cues.md, A12.
"""

import torch
from torch import Tensor, nn

from ercache.nets.roberta import BASE, HEADS, PAD_ID, SPEAKERS, roberta, speaker_rows
from ercache.nets.text_shapes import Shape
from ercache.weights import Weights
from fusion.layers.masked import safe_key_mask

CHECKPOINT = "roberta-base"


class TextReader(nn.Module):
    """RoBERTa with trainable embeddings for the tokens of ten speakers.

    Args:
        tuned: train RoBERTa itself, too; otherwise it stays in eval mode.
        shape: sizes of the network.
    """

    def __init__(self, tuned: bool, shape: Shape = BASE) -> None:
        super().__init__()
        self.tuned = tuned
        self.width, self.vocabulary = shape.width, shape.vocabulary
        self.network = roberta(shape, self.vocabulary)
        self.network.requires_grad_(tuned)
        self.speakers = nn.Parameter(torch.zeros(SPEAKERS, self.width))

    def train(self, mode: bool = True) -> "TextReader":
        """As in `nn.Module`, except that a frozen RoBERTa stays in eval mode, without dropout."""
        super().train(mode)
        self.network.train(mode and self.tuned)
        return self

    def load(self) -> None:
        """Load the published weights; the speaker embeddings start near the mean of all other embeddings.

        Raises:
            WeightsError: the checkpoint is missing, damaged or of another network.
        """
        Weights(CHECKPOINT).network(lambda: self.network, strip=("roberta.",), drop=HEADS)
        with torch.no_grad():
            self.speakers.copy_(speaker_rows(self._table.weight))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [N, T, width] of token ids [N, T]; ids beyond the vocabulary are speakers. `mask` is bool [N, T]."""
        is_speaker = mask & (ids >= self.vocabulary)
        known = ids.long().masked_fill(~mask | is_speaker, PAD_ID)
        rows = self.speakers[(ids.long() - self.vocabulary).clamp(0, SPEAKERS - 1)]
        x = torch.where(is_speaker.unsqueeze(-1), rows, self._table(known))
        y: Tensor = self.network(inputs_embeds=x, attention_mask=safe_key_mask(mask).long()).last_hidden_state
        return y

    @property
    def _table(self) -> nn.Embedding:
        table: nn.Embedding = self.network.embeddings.word_embeddings  # type: ignore[union-attr, assignment]
        return table
