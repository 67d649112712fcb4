"""The transformers of Cues: feature extraction and the first fusion step. Source: docs/papers/cues.md."""

from typing import Final

from torch import Tensor, nn

from fusion.layers.masked import safe_key_mask
from fusion.models.cues.config import CuesConfig

SPAN: Final = 3  # numbers of a word: first token, last token + 1, utterance (0 for the window's last one)


class CrossLayer(nn.Module):
    """Cross-attention layer (section 4.4): x <- LN(x + MHA(x, kv, kv)), then x <- LN(x + FFN(x))."""

    def __init__(self, c: CuesConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(c.width, c.heads, c.dropout, batch_first=True)
        self.ffn = nn.Sequential(
            nn.Linear(c.width, c.ffn), nn.ReLU(), nn.Dropout(c.dropout), nn.Linear(c.ffn, c.width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(2))
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, kv: Tensor, keys: Tensor) -> Tensor:
        """Let the steps x attend to the steps kv of another sequence.

        Args:
            x: queries, [N, T, width]: N windows of T steps.
            kv: keys and values, [N, K, width]: K steps.
            keys: mask of kv, bool [N, K]. If a window has no valid key, the attention adds nothing.

        Returns:
            New steps x, [N, T, width].
        """
        some = keys.any(1)
        found = self.attention(x, kv, kv, key_padding_mask=~safe_key_mask(keys), need_weights=False)[0]
        x = self.norms[0](x + self.drop(found * some[:, None, None]))
        y: Tensor = self.norms[1](x + self.drop(self.ffn(x)))
        return y


class FeatureExtractor(nn.Module):
    """Feature extractor of one modality (section 4.1): a linear map, then a transformer over the window's steps.

    Args:
        i: number of features of a step.
        c: the switches of Cues.
    """

    def __init__(self, i: int, c: CuesConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(i, c.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(c.width, c.heads, c.ffn, c.dropout, batch_first=True)
            for _ in range(c.layers)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode the steps (tokens or speech frames) of N windows.

        Args:
            x: steps, [N, T, i]: T steps of i features.
            mask: bool [N, T]; False on padding.

        Returns:
            Encoded steps, [N, T, width]; 0 on padding.
        """
        h: Tensor = self.enter(x)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=~safe_key_mask(mask))
        return h * mask.unsqueeze(-1)
