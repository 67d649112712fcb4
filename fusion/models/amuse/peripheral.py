"""Encoders of AMuSE and its multimodal attention: central towers that take in the other modalities at each layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.layers.masked import askable, average, ran, within

Scale = Literal["affine", "none", "fixed_linear"]


@dataclass(frozen=True)
class Stream:
    """The steps of one modality of N utterances: [N, T, d] and which are valid, bool [N, T]."""

    values: Tensor
    mask: Tensor


def lstm(i: int, hidden: int, both_ways: bool = True) -> nn.LSTM:
    """One layer whose forget gates begin open."""
    made = nn.LSTM(i, hidden, batch_first=True, bidirectional=both_ways)
    with torch.no_grad():
        for name, bias in made.named_parameters():
            if name.startswith("bias"):
                bias[hidden : 2 * hidden] = 1.0 if "ih" in name else 0.0
    return made


class SelfAttention(nn.Module):
    """w <- Linear(softmax(w w^T / sqrt(d)) w), without projections, residual or norm (4.1)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, w: Tensor, mask: Tensor) -> Tensor:
        """[N, T, d] and bool [N, T] to [N, T, d]."""
        scores = (w @ w.transpose(1, 2) / math.sqrt(w.shape[2])).masked_fill(
            ~askable(mask).unsqueeze(1), -torch.inf
        )
        y: Tensor = self.drop(self.linear(scores.softmax(2) @ w))
        return y * mask.unsqueeze(-1)


class Encoder(nn.Module):
    """f^m of a modality: Bi-LSTM and embedding of each of its sequences, joined in time, then self-attention (4.1)."""

    def __init__(self, inputs: Sequence[int], hidden: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(lstm(i, hidden) for i in inputs)
        self.embeddings = nn.ModuleList(nn.Linear(2 * hidden, width) for _ in inputs)
        self.layers = nn.ModuleList(SelfAttention(width, dropout) for _ in range(layers))

    def forward(self, sequences: Sequence[tuple[Tensor, Tensor]]) -> Stream:
        """Values [N, T, i] and lengths [N] of each sequence to the steps of all."""
        parts, masks = [], []
        for run, embed, (x, lengths) in zip(self.lstms, self.embeddings, sequences, strict=True):
            masks.append(within(lengths, x.shape[1]))
            parts.append(embed(ran(run, x, lengths)) * masks[-1].unsqueeze(-1))  # type: ignore[arg-type]
        w, mask = torch.cat(parts, 1), torch.cat(masks, 1)
        for layer in self.layers:
            w = layer(w, mask)
        return Stream(w, mask)


class Injection(nn.Module):
    """What one peripheral modality adds to a central one: heads of full width, averaged (Eq. 1, A-7).

    Args:
        scale: what is trained of the scores: one factor a head, nothing, or a map [steps, steps] of the places of the
            valid keys for each head, which begins as identity.
        steps: most keys of such a map.
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
        """[N, Tq, d] asks [N, T, i]; [N, Tq, d], 0 where there is nothing to ask."""
        K, V = (W(f.values).unflatten(2, (self.heads, -1)) for W in (self.W_K, self.W_V))  # [N, T, H, d]
        scores = torch.einsum("nqd,nthd->nhqt", q, K) / math.sqrt(self.i)
        if self.a is not None:
            scores = scores * self.a[:, None, None]
        if self.map is not None:
            scores = _mapped(scores, self.map, f.mask)
        weights = scores.masked_fill(~askable(f.mask)[:, None, None], -torch.inf).softmax(3)
        found = torch.einsum("nhqt,nthd->nqd", weights, V) / self.heads
        return found * f.mask.any(1)[:, None, None]


def _mapped(scores: Tensor, linear: Tensor, mask: Tensor) -> Tensor:
    """linear(scores) [N, H, Tq, T] over the places of valid keys, with which padding has nothing to do.

    Args:
        linear: [H, steps, steps]; mask: bool [N, T].

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
    """The multimodal attention network: a central tower for each modality, and its head Q_m (4.2).

    Args:
        widths: d_m of the unimodal descriptors.
        scale, steps: of the injections; steps for each modality.
        evolving: peripheral inputs are the states of their own towers, not the unimodal descriptors.
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
        """f_CA of each modality, [N, width]; 0 where it is absent."""
        M = range(len(f))
        g = [x.values for x in f]
        for D, injections in zip(self.D, self.injections, strict=True):
            around = [Stream(g[m], f[m].mask) for m in M] if self.evolving else f
            q = [D[m](g[m]).relu() for m in M]  # type: ignore[index]
            g = [
                q[m] + sum(injections[f"{i}_to_{m}"](q[m], around[i]) for i in M if i != m) / len(f)  # type: ignore[index]
                for m in M
            ]  # (1)
        return [self.drop(average(g[m], f[m].mask)) for m in M]
