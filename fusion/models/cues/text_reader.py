"""Cues' RoBERTa inside the model: token ids to states, with rows of its own for the speakers' tokens (A12)."""

import torch
from torch import Tensor, nn

from ercache.nets.roberta import BASE, HEADS, PAD_ID, SPEAKERS, roberta, speaker_rows
from ercache.nets.text_shapes import Shape
from ercache.weights import Weights
from fusion.layers.masked import askable

CHECKPOINT = "roberta-base"


class TextReader(nn.Module):
    """A RoBERTa whose rows for ten speakers are trained, its body only where that is asked for.

    Args:
        tuned: whether the body is trained; else it stays in eval mode.
    """

    def __init__(self, tuned: bool, shape: Shape = BASE) -> None:
        super().__init__()
        self.tuned = tuned
        self.width, self.vocabulary = shape.width, shape.vocabulary
        self.network = roberta(shape, self.vocabulary)
        self.network.requires_grad_(tuned)
        self.speakers = nn.Parameter(torch.zeros(SPEAKERS, self.width))

    def train(self, mode: bool = True) -> "TextReader":
        """A frozen body drops nothing out."""
        super().train(mode)
        self.network.train(mode and self.tuned)
        return self

    def load(self) -> None:
        """Take the published tensors; the speakers' rows begin near the mean of all others.

        Raises:
            WeightsError: they are absent, damaged or another network's.
        """
        Weights(CHECKPOINT).network(lambda: self.network, strip=("roberta.",), drop=HEADS)
        with torch.no_grad():
            self.speakers.copy_(speaker_rows(self._table.weight))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [N, T, width] of tokens [N, T], whose ids from the vocabulary on are speakers; mask bool [N, T]."""
        speaks = mask & (ids >= self.vocabulary)
        known = ids.long().masked_fill(~mask | speaks, PAD_ID)
        rows = self.speakers[(ids.long() - self.vocabulary).clamp(0, SPEAKERS - 1)]
        x = torch.where(speaks.unsqueeze(-1), rows, self._table(known))
        y: Tensor = self.network(inputs_embeds=x, attention_mask=askable(mask).long()).last_hidden_state
        return y

    @property
    def _table(self) -> nn.Embedding:
        table: nn.Embedding = self.network.embeddings.word_embeddings  # type: ignore[union-attr, assignment]
        return table
