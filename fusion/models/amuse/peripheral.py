"""Encoders and multimodal attention network of AMuSE: in each layer, a central tower takes in the other modalities.

Section numbers are those of docs/papers/amuse.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.layers.masked import length_mask, masked_mean, run_lstm, safe_key_mask

Scale = Literal["affine", "none", "fixed_linear"]


@dataclass(frozen=True)
class Stream:
    """The steps of one modality of N utterances: values [N, T, d], and their mask bool [N, T]."""

    values: Tensor
    mask: Tensor


def lstm(i: int, hidden: int, both_ways: bool = True) -> nn.LSTM:
    """A one-layer LSTM whose forget gates start open (bias 1).

    Args:
        i: input width.
        hidden: hidden units of one direction.
        both_ways: bidirectional.
    """
    made = nn.LSTM(i, hidden, batch_first=True, bidirectional=both_ways)
    with torch.no_grad():
        for name, bias in made.named_parameters():
            if name.startswith("bias"):
                bias[hidden : 2 * hidden] = 1.0 if "ih" in name else 0.0
    return made


class SelfAttention(nn.Module):
    """w <- Linear(softmax(w w^T / sqrt(d)) w), without query/key projections, residual or norm (4.1)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, w: Tensor, mask: Tensor) -> Tensor:
        """Map w [N, T, d] with mask bool [N, T] to [N, T, d]; 0 on padding."""
        scores = (w @ w.transpose(1, 2) / math.sqrt(w.shape[2])).masked_fill(
            ~safe_key_mask(mask).unsqueeze(1), -torch.inf
        )
        y: Tensor = self.drop(self.linear(scores.softmax(2) @ w))
        return y * mask.unsqueeze(-1)


class Encoder(nn.Module):
    """Encoder f^m of one modality (4.1).

    Each of its sequences passes a Bi-LSTM and a linear embedding. All are concatenated in time and pass self-attention.

    Args:
        inputs: width of a step of each sequence.
        hidden: units of one direction of the LSTMs.
        width: width of the result.
        layers: self-attention layers.
        dropout: in self-attention.
    """

    def __init__(self, inputs: Sequence[int], hidden: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(lstm(i, hidden) for i in inputs)
        self.embeddings = nn.ModuleList(nn.Linear(2 * hidden, width) for _ in inputs)
        self.layers = nn.ModuleList(SelfAttention(width, dropout) for _ in range(layers))

    def forward(self, sequences: Sequence[tuple[Tensor, Tensor]]) -> Stream:
        """Encode sequences, each given as values [N, T, i] and lengths [N]."""
        parts, masks = [], []
        for run, embed, (x, lengths) in zip(self.lstms, self.embeddings, sequences, strict=True):
            masks.append(length_mask(lengths, x.shape[1]))
            parts.append(embed(run_lstm(run, x, lengths)) * masks[-1].unsqueeze(-1))  # type: ignore[arg-type]
        w, mask = torch.cat(parts, 1), torch.cat(masks, 1)
        for layer in self.layers:
            w = layer(w, mask)
        return Stream(w, mask)


class Injection(nn.Module):
    """What one peripheral modality adds to a central one: attention with full-width heads, averaged (Eq. 1, A-7).

    Args:
        i: width of the peripheral modality.
        width: width of the central one.
        heads: number of heads.
        scale: trainable scaling of the scores. `affine`: one factor for each head. `none`: no scaling. `fixed_linear`:
            for each head a linear map [steps, steps] over the positions of the valid keys, initially the identity.
        steps: greatest number of keys for `fixed_linear`.
    """

    def __init__(self, i: int, width: int, heads: int, scale: Scale, steps: int) -> None:
        super().__init__()
        self.heads, self.i = heads, i
        self.W_K, self.W_V = (nn.Linear(i, heads * width, bias=False) for _ in range(2))
        self.a = nn.Parameter(torch.ones(heads)) if scale == "affine" else None
        self.map: nn.Parameter | None = None
        if scale == "fixed_linear":
            identity = torch.zeros(heads, steps, steps)
            identity.diagonal(dim1=1, dim2=2).fill_(1.0)
            self.map = nn.Parameter(identity)

    def forward(self, q: Tensor, f: Stream) -> Tensor:
        """Attend from q [N, Tq, d] to the steps of f [N, T, i]; returns [N, Tq, d], 0 if f has no steps."""
        K, V = (W(f.values).unflatten(2, (self.heads, -1)) for W in (self.W_K, self.W_V))  # [N, T, H, d]
        scores = torch.einsum("nqd,nthd->nhqt", q, K) / math.sqrt(self.i)
        if self.a is not None:
            scores = scores * self.a[:, None, None]
        if self.map is not None:
            scores = _mapped(scores, self.map, f.mask)
        weights = scores.masked_fill(~safe_key_mask(f.mask)[:, None, None], -torch.inf).softmax(3)
        found = torch.einsum("nhqt,nthd->nqd", weights, V) / self.heads
        return found * f.mask.any(1)[:, None, None]


def _mapped(scores: Tensor, linear: Tensor, mask: Tensor) -> Tensor:
    """Apply a linear map for each of H heads to the scores of the valid keys, by position; padding takes no part.

    Args:
        scores: [N, H, Tq, T].
        linear: [H, steps, steps].
        mask: bool [N, T], the valid keys.

    Returns:
        [N, H, Tq, T].

    Raises:
        UsageError: a sequence has more steps than the map.
    """
    longest, steps = int(mask.sum(1).max()), linear.shape[1]
    if longest > steps:
        hint = "score_scale: affine takes any length; or raise text_steps, audio_steps or visual_steps"
        raise UsageError(f"score_scale: fixed_linear maps {steps} steps, a sequence has {longest}", hint=hint)
    place = (mask.cumsum(1) - 1).clamp(min=0)
    own = linear[:, place[:, :, None], place[:, None, :]].transpose(0, 1)  # [N, H, T, T]
    return torch.einsum("nhqk,nhtk->nhqt", scores * mask[:, None, None], own)


class Towers(nn.Module):
    """The multimodal attention network (MAN): a central tower and a head Q_m for each modality (4.2).

    Args:
        widths: width d_m of each modality's encoder.
        classes: number of classes.
        width: width of the towers.
        layers: layers of the towers.
        heads: heads of an injection.
        scale: trainable scaling of the injections' scores.
        steps: greatest number of steps of each modality, for the scaling `fixed_linear`.
        evolving: inject the current states of the other towers, instead of the encoders' output.
        dropout: of the descriptors.
    """

    def __init__(
        self,
        widths: Sequence[int],
        classes: int,
        width: int,
        layers: int,
        heads: int,
        scale: Scale,
        steps: Sequence[int],
        evolving: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        M = range(len(widths))
        self.evolving, self.drop = evolving, nn.Dropout(dropout)
        self.D = nn.ModuleList(
            nn.ModuleList(nn.Linear(widths[m] if at == 0 else width, width) for m in M)
            for at in range(layers)
        )
        self.injections = nn.ModuleList(
            nn.ModuleDict(
                {
                    f"{i}_to_{m}": Injection(
                        width if evolving and at else widths[i], width, heads, scale, steps[i]
                    )
                    for m in M
                    for i in M
                    if i != m
                }
            )
            for at in range(layers)
        )
        self.Q = nn.ModuleList(nn.Linear(width, classes) for _ in M)

    def forward(self, f: Sequence[Stream]) -> list[Tensor]:
        """f_CA of each modality, [N, width]; 0 where the modality is absent."""
        M = range(len(f))
        g = [x.values for x in f]
        for D, injections in zip(self.D, self.injections, strict=True):
            around = [Stream(g[m], f[m].mask) for m in M] if self.evolving else f
            q = [D[m](g[m]).relu() for m in M]  # type: ignore[index]
            g = [
                q[m] + sum(injections[f"{i}_to_{m}"](q[m], around[i]) for i in M if i != m) / len(f)  # type: ignore[index]
                for m in M
            ]  # (1)
        return [self.drop(masked_mean(g[m], f[m].mask)) for m in M]
