"""Encoders and multimodal attention network (MAN) of AMuSE.

Each modality has a tower: a stack of layers that attend to the other modalities. A modality is `central` in its own
tower and `peripheral` in the towers of others. Section numbers are those of docs/papers/amuse.md.
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
    """The encoded steps of one modality: values [N, T, d] for N utterances, T steps, d values; mask bool [N, T]."""

    values: Tensor
    mask: Tensor


def lstm(i: int, hidden: int, both_ways: bool = True) -> nn.LSTM:
    """Make a one-layer LSTM whose forget gates start with the bias 1.

    Args:
        i: size of an input step.
        hidden: hidden units of one direction.
        both_ways: whether the LSTM is bidirectional.
    """
    made = nn.LSTM(i, hidden, batch_first=True, bidirectional=both_ways)
    with torch.no_grad():
        for name, bias in made.named_parameters():
            if name.startswith("bias"):
                bias[hidden : 2 * hidden] = 1.0 if "ih" in name else 0.0
    return made


class SelfAttention(nn.Module):
    """Self-attention without query and key projections, residual or norm (section 4.1).

    w <- Linear(softmax(w w^T / sqrt(d)) w), where the rows of w are the steps of an utterance, with d values each.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, w: Tensor, mask: Tensor) -> Tensor:
        """Apply self-attention over the steps of each utterance.

        Args:
            w: N utterances of T steps with d values, [N, T, d].
            mask: bool [N, T]; False on padding.

        Returns:
            New values of the steps, [N, T, d]; 0 on padding.
        """
        scores = (w @ w.transpose(1, 2) / math.sqrt(w.shape[2])).masked_fill(
            ~safe_key_mask(mask).unsqueeze(1), -torch.inf
        )
        y: Tensor = self.drop(self.linear(scores.softmax(2) @ w))
        return y * mask.unsqueeze(-1)


class Encoder(nn.Module):
    """Encoder f^m of one modality (section 4.1): Bi-LSTM, linear embedding, self-attention.

    A modality may have several input sequences (faces and backgrounds). Each has a Bi-LSTM and an embedding of its own;
    the results are concatenated in time before the self-attention.

    Args:
        inputs: for each input sequence, the width of a step.
        hidden: LSTM units of one direction.
        width: width of the encoded steps.
        layers: number of self-attention layers.
        dropout: dropout rate in self-attention.
    """

    def __init__(self, inputs: Sequence[int], hidden: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(lstm(i, hidden) for i in inputs)
        self.embeddings = nn.ModuleList(nn.Linear(2 * hidden, width) for _ in inputs)
        self.layers = nn.ModuleList(SelfAttention(width, dropout) for _ in range(layers))

    def forward(self, sequences: Sequence[tuple[Tensor, Tensor]]) -> Stream:
        """Encode all input sequences of the modality into one sequence of steps for each utterance.

        Args:
            sequences: for each input sequence of N utterances, the steps [N, T, i] (T steps of i values) and the number
                of steps of each utterance, [N].
        """
        parts, masks = [], []
        for run, embed, (x, lengths) in zip(self.lstms, self.embeddings, sequences, strict=True):
            masks.append(length_mask(lengths, x.shape[1]))
            parts.append(embed(run_lstm(run, x, lengths)) * masks[-1].unsqueeze(-1))  # type: ignore[arg-type]
        w, mask = torch.cat(parts, 1), torch.cat(masks, 1)
        for layer in self.layers:
            w = layer(w, mask)
        return Stream(w, mask)


class Injection(nn.Module):
    """Cross-attention of a central modality to a peripheral one (Eq. 1, A-7); the outputs of the heads are averaged.

    Args:
        i: size of a step of the peripheral modality, which gives keys and values.
        width: size of a step of the central modality, which gives the queries; each head has this full size.
        heads: number of heads.
        scale: trainable scaling of the attention scores. `affine`: one factor for each head. `none`: no scaling.
            `fixed_linear`: for each head, a linear map [steps, steps] over the key positions, initially the identity.
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
        """Let the central modality attend to the steps of the peripheral modality.

        Args:
            q: queries of the central modality, [N, Tq, d]: N utterances, Tq steps, d values.
            f: steps of the peripheral modality.

        Returns:
            Attended values, [N, Tq, d]; 0 for utterances without the peripheral modality.
        """
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
    """Apply each head's linear map to the attention scores, over the valid keys; padding is skipped.

    Sizes: N utterances, H heads, Tq queries, T keys.

    Args:
        scores: attention scores, [N, H, Tq, T].
        linear: linear maps over key positions, [H, steps, steps].
        mask: bool [N, T]; True for valid keys.

    Returns:
        The mapped scores, [N, H, Tq, T].

    Raises:
        UsageError: a sequence has more valid keys than the map has positions.
    """
    longest, steps = int(mask.sum(1).max()), linear.shape[1]
    if longest > steps:
        hint = (
            "set `score_scale: affine` (any length), or raise `text_steps`, `audio_steps` or `visual_steps`"
        )
        raise UsageError(
            f"amuse: `score_scale: fixed_linear` allows {steps} steps, but a sequence has {longest}",
            hint=hint,
        )
    place = (mask.cumsum(1) - 1).clamp(min=0)
    own = linear[:, place[:, :, None], place[:, None, :]].transpose(0, 1)  # [N, H, T, T]
    return torch.einsum("nhqk,nhtk->nhqt", scores * mask[:, None, None], own)


class Towers(nn.Module):
    """The multimodal attention network MAN (section 4.2): a tower and a classifier (head Q_m) for each modality.

    In each layer of its tower, a modality attends to every other modality by cross-attention (an injection).

    Args:
        widths: width d_m of each modality's encoder.
        classes: number of classes.
        width: width of the towers.
        layers: number of layers of a tower.
        heads: attention heads of an injection.
        scale: trainable scaling of the attention scores, see `Injection`.
        steps: for each modality, the greatest number of steps; used by the scaling `fixed_linear`.
        evolving: whether injections take the current states of the other towers, instead of their encoders' outputs.
        dropout: dropout rate of the descriptors.
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
        """Run the towers of all modalities for N utterances.

        Args:
            f: for each modality, the steps that its encoder returns.

        Returns:
            For each modality, the descriptors f_CA [N, width]: means over the steps; 0 where the modality is absent.
        """
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
