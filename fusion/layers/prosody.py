"""Cues' prosody encoder: the pitch and rhythm encoders of a voice conversion network on speech frames (Equation 2)."""

from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn

from fusion.layers.masked import ran, within

STEP: Final = 8  # frames that share a code
CODES: Final = {"wide": (64, 2), "narrow": (32, 1)}  # hidden sizes of pitch and rhythm, one direction


class Branch(nn.Module):
    """Convolutions of width 5 with group norms, then a bidirectional LSTM that is read once in eight frames.

    Args:
        groups: of each norm, whose statistics are those of the valid frames.
    """

    def __init__(self, i: int, o: int, layers: int, groups: int, hidden: int) -> None:
        super().__init__()
        sizes = [i, *[o] * layers]
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(GroupNorm(groups, o) for _ in range(layers))
        self.lstm = nn.LSTM(o, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames [N, T, i] and lengths [N] (at least 1) to [N, T, 2 hidden], one code for each eight frames."""
        mask = within(lengths, x.shape[1])
        x = x * mask.unsqueeze(-1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x.transpose(1, 2)).transpose(1, 2), mask).relu() * mask.unsqueeze(-1)
        forward, backward = ran(self.lstm, x, lengths).chunk(2, -1)
        frame = torch.arange(x.shape[1], device=x.device)
        begin = frame // STEP * STEP
        end = torch.minimum(begin + STEP - 1, (lengths - 1)[:, None])  # of each clip's own segment
        ahead = forward.gather(1, end.unsqueeze(-1).expand_as(forward))
        return torch.cat([ahead, backward[:, begin]], -1)


class GroupNorm(nn.GroupNorm):
    """Group norm of [N, T, C] over the valid frames of each clip."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised; mask bool [N, T]."""
        n, t, c = x.shape
        grouped = x.reshape(n, t, self.num_groups, c // self.num_groups)
        weight = mask[:, :, None, None] / (mask.sum(1).clamp(min=1)[:, None, None, None] * grouped.shape[-1])
        mean = (grouped * weight).sum((1, 3), keepdim=True)
        variance = ((grouped - mean).square() * weight).sum((1, 3), keepdim=True)
        return ((grouped - mean) / (variance + self.eps).sqrt()).reshape(n, t, c) * self.weight + self.bias


class Prosody(nn.Module):
    """F_a = h_a + LN(Enc(h_a)), Enc the codes of pitch and rhythm mapped back to the width of h_a."""

    def __init__(self, width: int, sizes: Literal["wide", "narrow"]) -> None:
        super().__init__()
        pitch, rhythm = CODES[sizes]
        self.pitch = Branch(width, width // 4, 3, 16, pitch)
        self.rhythm = Branch(width, width // 8, 1, 8, rhythm)
        self.out = nn.Linear(2 * (pitch + rhythm), width)
        self.norm = nn.LayerNorm(width)

    def codes(self, h: Tensor, lengths: Tensor) -> Tensor:
        """[N, T, 132] of frames [N, T, width]."""
        held = lengths.clamp(min=1)
        return torch.cat([self.pitch(h, held), self.rhythm(h, held)], -1)

    def forward(self, h: Tensor, lengths: Tensor) -> Tensor:
        """[N, T, width], lengths [N]."""
        found: Tensor = h + self.norm(self.out(self.codes(h, lengths)))
        return found
