"""Cross-attention between audio and video in AVAFN, and the weighted sum of the two results."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.models.avafn.config import AvafnConfig


class CrossAttention(nn.Module):
    """Cross-attention module (CAM, Eq. 1 to 6) between the audio and the video of a dialogue.

    The audio of each utterance attends to the video of all utterances, and the video to the audio of all utterances.
    """

    def __init__(self, names: list[str], config: AvafnConfig) -> None:
        super().__init__()
        d = config.d_model
        self.other = dict(zip(names, reversed(names), strict=True))  # a single modality attends to itself
        self.dropout = config.dropout
        self.W_Q, self.W_K, self.W_V = (
            nn.ModuleDict({m: nn.Linear(d, d, bias=False) for m in names}) for _ in range(3)
        )
        self.norm, self.norm_c = (nn.ModuleDict({m: nn.LayerNorm(d) for m in names}) for _ in range(2))
        self.FFN = nn.ModuleDict(
            {
                m: nn.Sequential(
                    nn.Linear(d, config.d_ff),
                    nn.ReLU(),
                    nn.Dropout(config.dropout),
                    nn.Linear(config.d_ff, d),
                )
                for m in names
            }
        )

    def forward(self, H: Mapping[str, Tensor], allowed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the cross-attended features H_a^c (audio) and H_v^c (video).

        Args:
            H: modality -> features, [B, L, d]: B dialogues, L utterances, d features.
            allowed: modality -> bool [B, L, L]; which utterances (columns) an utterance (row) may attend to when this
                modality gives the keys. [B, 1, L] if all rows are equal.

        Returns:
            Modality -> cross-attended features, [B, L, d].
        """
        found = {}
        for m, o in self.other.items():
            zeta = F.scaled_dot_product_attention(  # Eq. 1 and 2
                self.W_Q[m](H[m]),
                self.W_K[o](H[o]),
                self.W_V[o](H[o]),
                attn_mask=allowed[o],
                dropout_p=self.dropout if self.training else 0.0,
            )
            H_LN = self.norm[m](H[m] + zeta)  # Eq. 3 and 4
            found[m] = self.norm_c[m](H_LN + self.FFN[m](H_LN))  # Eq. 5 and 6
        return found

    def weights(self, H: Mapping[str, Tensor], allowed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the attention weights (softmax of Eq. 1 and 2); the arguments are those of `forward`.

        Returns:
            Modality -> weights [B, L, L] of B dialogues with L utterances: how much this modality of an utterance (row)
            attends to the other modality of each utterance (column).
        """
        found = {}
        for m, o in self.other.items():
            scores = self.W_Q[m](H[m]) @ self.W_K[o](H[o]).mT / math.sqrt(H[m].shape[-1])
            found[m] = scores.masked_fill(~allowed[o], -math.inf).softmax(-1)
        return found


class WeightedFusion(nn.Module):
    """Weighted sum of the cross-attended features of audio (H_a^c) and video: alpha H_a^c + beta H_v^c (Eq. 7).

    A single modality is returned unchanged.
    """

    def __init__(self, names: list[str], config: AvafnConfig) -> None:
        super().__init__()
        self.names, self.kind = names, config.fusion_weight if len(names) > 1 else "alone"
        self.w = nn.Parameter(torch.zeros(2)) if self.kind == "learned_scalar" else None
        self.W_g = nn.Linear(2 * config.d_model, 2) if self.kind == "gate" else None

    def forward(self, H_c: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Compute the weighted sum H_WCA of both modalities, [B, L, d].

        Args:
            H_c: modality -> cross-attended features, [B, L, d]: B dialogues, L utterances, d features.
            weights: modality -> attention weights [B, L, L]; used only with `fusion_weight: attention_matrix`.
        """
        H = [H_c[m] for m in self.names]
        if self.kind == "alone":
            return H[0]
        if self.kind == "attention_matrix":
            return weights[self.names[0]] @ H[0] + weights[self.names[1]] @ H[1]
        if self.W_g is not None:
            alpha, beta = self.W_g(torch.cat(H, dim=-1)).softmax(-1).split(1, dim=-1)
        else:
            alpha, beta = self.balance()
        H_WCA: Tensor = alpha * H[0] + beta * H[1]
        return H_WCA

    def balance(self) -> tuple[Tensor, Tensor]:
        """Return the weights alpha (audio) and beta (video) of Eq. 7, which are the same for all utterances.

        With `fusion_weight: learned_scalar` they are trained; with `fusion_weight: fixed` each is one half. Do not call
        this method with another `fusion_weight`.
        """
        alpha, beta = torch.zeros(2).softmax(0) if self.w is None else self.w.softmax(0)
        return alpha, beta
