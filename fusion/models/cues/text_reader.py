"""RoBERTa as part of Cues (`cache_text: false`): turns token ids into states, with trained speaker tokens.

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
        tuned: train RoBERTa itself, too. If False, only the speaker embeddings are trained.
        shape: sizes of RoBERTa.
    """

    def __init__(self, tuned: bool, shape: Shape = BASE) -> None:
        super().__init__()
        self.tuned = tuned
        self.width, self.vocabulary = shape.width, shape.vocabulary
        self.network = roberta(shape, self.vocabulary)
        self.network.requires_grad_(tuned)
        self.speakers = nn.Parameter(torch.zeros(SPEAKERS, self.width))

    def train(self, mode: bool = True) -> "TextReader":
        """Set training or eval mode, as `nn.Module.train`, but keep a frozen RoBERTa in eval mode (no dropout)."""
        super().train(mode)
        self.network.train(mode and self.tuned)
        return self

    def load(self) -> None:
        """Load the published weights of RoBERTa, and start the speaker embeddings near the mean token embedding.

        Raises:
            WeightsError: the checkpoint is missing, damaged or from another network.
        """
        Weights(CHECKPOINT).network(lambda: self.network, strip=("roberta.",), drop=HEADS)
        with torch.no_grad():
            self.speakers.copy_(speaker_rows(self._table.weight))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run RoBERTa on the tokens of N windows.

        Args:
            ids: token ids, [N, T] for T tokens. Ids above the vocabulary of RoBERTa are speaker tokens.
            mask: bool [N, T]; False on padding.

        Returns:
            Token states of the last layer, [N, T, width].
        """
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
