"""Cross-attention between two modalities, and the weighted fusion of its results (AVAFN)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.models.avafn.config import AvafnConfig


class CrossAttention(nn.Module):
    """CAM: each modality attends to the other one, over the utterances of the dialogue (Eq. 1 to 6)."""

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
        """H_a^c and H_v^c by modality, [B, L, d].

        Args:
            H: modality -> [B, L, d].
            allowed: modality -> bool [B, L or 1, L]; which of its utterances may be keys.
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
        """Attention weights of each modality's queries over the other's keys (softmax of Eq. 1 and 2), [B, L, L].

        The arguments are those of `forward`.
        """
        found = {}
        for m, o in self.other.items():
            scores = self.W_Q[m](H[m]) @ self.W_K[o](H[o]).mT / math.sqrt(H[m].shape[-1])
            found[m] = scores.masked_fill(~allowed[o], -math.inf).softmax(-1)
        return found


class WeightedFusion(nn.Module):
    """alpha H_a^c + beta H_v^c (Eq. 7); a single modality is returned unchanged."""

    def __init__(self, names: list[str], config: AvafnConfig) -> None:
        super().__init__()
        self.names, self.kind = names, config.fusion_weight if len(names) > 1 else "alone"
        self.w = nn.Parameter(torch.zeros(2)) if self.kind == "learned_scalar" else None
        self.W_g = nn.Linear(2 * config.d_model, 2) if self.kind == "gate" else None

    def forward(self, H_c: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Compute H_WCA [B, L, d].

        Args:
            H_c: modality -> [B, L, d].
            weights: modality -> attention matrix [B, L, L]; only `fusion_weight: attention_matrix` needs it.
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
        """alpha and beta, if they are the same for all utterances (`learned_scalar` or `fixed`)."""
        alpha, beta = torch.zeros(2).softmax(0) if self.w is None else self.w.softmax(0)
        return alpha, beta
