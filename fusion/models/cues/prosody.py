"""Cues' prosody encoder: the pitch and rhythm encoders of a voice conversion network (Equation 2).

The paper gives them the speech frames themselves; that network reads pitch as one of 257 classes, and mel bands
(docs/papers/cues.md, A2).
"""

from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.weights import Weights
from fusion.layers.masked import ran, resampled, within
from fusion.models.cues.windows import Heard

STEP: Final = 8  # frames that share a code
CODES: Final = {"wide": (64, 2), "narrow": (32, 1)}  # hidden sizes of pitch and rhythm, one direction
PITCHES, BANDS = 257, 80  # what that network reads
RELEASED: Final = "srd-vc"
SHORTEST, LONGEST = 19, 32  # frames of a stretch whose tempo is changed


class Branch(nn.Module):
    """Convolutions of width 5 with group norms, then a bidirectional LSTM that is read once in eight frames.

    Args:
        groups: of each norm, whose statistics are those of the valid frames.
        resample: change the tempo of random stretches after each convolution, in training.
    """

    def __init__(self, i: int, o: int, layers: int, groups: int, hidden: int, resample: bool = False) -> None:
        super().__init__()
        self.resample = resample
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
            if self.resample and self.training:
                x = other_tempo(x, lengths)
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


def other_tempo(x: Tensor, lengths: Tensor) -> Tensor:
    """Sequences [N, T, C] with random stretches of 19 to 32 steps at 0.5 to 1.5 times their length, as long as before.

    What grows beyond its length is cut off, what shrinks is followed by 0.
    """
    n, longest = x.shape[:2]
    parts = longest // SHORTEST + 1
    steps = torch.randint(SHORTEST, LONGEST + 1, (n, parts), device=x.device)
    scale = torch.rand(n, parts, device=x.device) + 0.5
    counts = (steps * scale).ceil().long()
    ends = counts.cumsum(1)
    place = torch.arange(longest, device=x.device).expand(n, -1).contiguous()
    part = torch.searchsorted(ends, place, right=True).clamp(max=parts - 1)
    within_part = (place - (ends - counts).gather(1, part)) / scale.gather(1, part)
    source = (steps.cumsum(1) - steps).gather(1, part) + within_part
    own = (source <= (lengths - 1)[:, None]) & within(lengths, longest)
    low = source.long().clamp(max=longest - 1)
    below, above = (
        x.gather(1, i.unsqueeze(-1).expand_as(x)) for i in (low, (low + 1).clamp(max=longest - 1))
    )
    return torch.lerp(below, above, (source - low).clamp(0, 1).unsqueeze(-1)) * own.unsqueeze(-1)


class Prosody(nn.Module):
    """F_a = h_a + LN(Enc(h_a)), Enc the codes of pitch and rhythm mapped back to the width of h_a.

    Args:
        tracks: the encoders read pitch classes and mel bands of the window in place of h_a.
    """

    def __init__(
        self, width: int, sizes: Literal["wide", "narrow"], tracks: bool = False, resample: bool = False
    ) -> None:
        super().__init__()
        self.tracks = tracks
        pitch, rhythm = CODES[sizes]
        inputs = (PITCHES, BANDS) if tracks else (width, width)
        self.pitch = Branch(inputs[0], width // 4, 3, 16, pitch, resample)
        self.rhythm = Branch(inputs[1], width // 8, 1, 8, rhythm)
        self.out = nn.Linear(2 * (pitch + rhythm), width)
        self.norm = nn.LayerNorm(width)

    def load(self) -> None:
        """Take the published encoders, without the first layers where these read h_a.

        Raises:
            WeightsError: they are absent, damaged or another network's.
        """
        released: nn.ModuleDict = Weights(RELEASED).network(
            lambda: nn.ModuleDict(
                {"pitch": Branch(PITCHES, 256, 3, 16, 64), "rhythm": Branch(BANDS, 128, 1, 8, 2)}
            ),
            rename=released_name,
            drop=("encoder_",),
        )
        given = {
            name: tensor
            for name, tensor in released.state_dict().items()
            if self.tracks or ".convs.0." not in name
        }
        self.load_state_dict({**self.state_dict(), **given})

    def codes(self, h: Tensor, lengths: Tensor) -> Tensor:
        """[N, T, 132] of frames [N, T, width]."""
        held = lengths.clamp(min=1)
        return torch.cat([self.pitch(h, held), self.rhythm(h, held)], -1)

    def codes_of_tracks(self, pitch: Heard, bands: Heard, lengths: Tensor, longest: int) -> Tensor:
        """[N, longest, 132] at the frames of h_a, of pitch classes [N, T] and mel bands [N, T, 80]."""
        held = bands.lengths.clamp(min=1)
        classes = F.one_hot(pitch.values.long(), PITCHES).to(bands.values.dtype)
        codes = torch.cat([self.pitch(classes, held), self.rhythm(bands.values, held)], -1)
        return resampled(codes, bands.lengths, lengths, longest)

    def forward(self, h: Tensor, lengths: Tensor, tracks: tuple[Heard, Heard] | None = None) -> Tensor:
        """[N, T, width], lengths [N]; a window without tracks, where they are read, stays as it is."""
        if tracks is None:
            found: Tensor = h + self.norm(self.out(self.codes(h, lengths)))
            return found
        codes = self.codes_of_tracks(*tracks, lengths, h.shape[1])
        there = (tracks[1].lengths > 0)[:, None, None]
        found = h + self.norm(self.out(codes)) * there
        return found


def released_name(name: str) -> str:
    """Ours of a tensor of the published generator (`G1` of its checkpoint); others keep theirs."""
    for theirs, own in (
        ("encoder_1.convolutions_2.", "pitch."),
        ("encoder_1.lstm_2.", "pitch.lstm."),
        ("encoder_2.convolutions.", "rhythm."),
        ("encoder_2.lstm.", "rhythm.lstm."),
    ):
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            number, _, part = rest.partition(".")
            if number.isdigit():  # a convolution and its norm, by their number
                kind = "convs" if part.startswith("0.") else "norms"
                rest = f"{kind}.{number}.{part.rpartition('.')[2]}"
            return own + rest
    return name
