"""Encoders of AMuSE and its multimodal attention: central towers that take in the other modalities at each layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.layers.masked import askable, average, ran, within


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
    """What one peripheral modality adds to a central one: heads of full width, averaged (Eq. 1, A-7)."""

    def __init__(self, i: int, width: int, heads: int, scaled: bool) -> None:
        super().__init__()
        self.heads, self.i = heads, i
        self.W_K, self.W_V = (nn.Linear(i, heads * width, bias=False) for _ in range(2))
        self.a = nn.Parameter(torch.ones(heads)) if scaled else None

    def forward(self, q: Tensor, f: Stream) -> Tensor:
        """[N, Tq, d] asks [N, T, i]; [N, Tq, d], 0 where there is nothing to ask."""
        K, V = (W(f.values).unflatten(2, (self.heads, -1)) for W in (self.W_K, self.W_V))  # [N, T, H, d]
        scores = torch.einsum("nqd,nthd->nhqt", q, K) / math.sqrt(self.i)
        if self.a is not None:
            scores = scores * self.a[:, None, None]
        weights = scores.masked_fill(~askable(f.mask)[:, None, None], -torch.inf).softmax(3)
        found = torch.einsum("nhqt,nthd->nqd", weights, V) / self.heads
        return found * f.mask.any(1)[:, None, None]


class Towers(nn.Module):
    """The multimodal attention network: a central tower for each modality, and its head Q_m (4.2).

    Args:
        widths: d_m of the unimodal descriptors.
        evolving: peripheral inputs are the states of their own towers, not the unimodal descriptors.
    """

    def __init__(
        self,
        widths: Sequence[int],
        classes: int,
        width: int,
        layers: int,
        heads: int,
        scaled: bool,
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
                    f"{i}_to_{m}": Injection(width if evolving and at else widths[i], width, heads, scaled)
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
