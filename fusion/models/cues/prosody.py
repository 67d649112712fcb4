"""Prosody encoder of Cues: the pitch and rhythm encoders of a voice conversion network (Eq. 2).

In the paper, these encoders take speech frames as input. In the voice conversion network, the pitch encoder takes 257
pitch classes and the rhythm encoder 80 mel bands. The switch `prosody_input` chooses between the two.

Source: docs/papers/cues.md, A2.
"""

from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.weights import Weights
from fusion.layers.masked import length_mask, resample_lengths, run_lstm
from fusion.models.cues.windows import WindowedSequence

STEP: Final = 8  # frames that share a code
CODES: Final = {"wide": (64, 2), "narrow": (32, 1)}  # LSTM units for pitch and rhythm, one direction
PITCHES, BANDS = 257, 80  # input sizes of the voice conversion network
RELEASED: Final = "srd-vc"  # key of its checkpoint
SHORTEST, LONGEST = 19, 32  # frames of a segment whose tempo is changed


class Branch(nn.Module):
    """Encoder of pitch or of rhythm: convolutions with group norms, then a bidirectional LSTM.

    The convolutions have width 5. The LSTM gives one output vector (code) for each group of eight frames.

    Args:
        i: number of values of an input frame.
        o: number of output channels of each convolution.
        layers: number of convolutions.
        groups: number of groups of each group norm.
        hidden: LSTM units of one direction.
        resample: in training, change the tempo of random segments after each convolution.
    """

    def __init__(self, i: int, o: int, layers: int, groups: int, hidden: int, resample: bool = False) -> None:
        super().__init__()
        self.resample = resample
        sizes = [i, *[o] * layers]
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(GroupNorm(groups, o) for _ in range(layers))
        self.lstm = nn.LSTM(o, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode the frames of N windows as codes. Eight frames share one code, which is repeated for each of them.

        Args:
            x: frames, [N, T, i]: T frames of i values.
            lengths: number of frames of each window, [N]; at least 1.

        Returns:
            Codes, [N, T, 2 * hidden].
        """
        mask = length_mask(lengths, x.shape[1])
        x = x * mask.unsqueeze(-1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x.transpose(1, 2)).transpose(1, 2), mask).relu() * mask.unsqueeze(-1)
            if self.resample and self.training:
                x = other_tempo(x, lengths)
        forward, backward = run_lstm(self.lstm, x, lengths).chunk(2, -1)
        frame = torch.arange(x.shape[1], device=x.device)
        begin = frame // STEP * STEP
        end = torch.minimum(
            begin + STEP - 1, (lengths - 1)[:, None]
        )  # last frame of the segment in this clip
        forward_code = forward.gather(1, end.unsqueeze(-1).expand_as(forward))
        return torch.cat([forward_code, backward[:, begin]], -1)


class GroupNorm(nn.GroupNorm):
    """Group norm of padded sequences; the statistics of each sequence ignore padding."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise each group of channels over all real steps of a sequence. Padding of the result is not 0.

        Args:
            x: N sequences of T steps with C channels, [N, T, C].
            mask: bool [N, T]; False on padding.
        """
        n, t, c = x.shape
        grouped = x.reshape(n, t, self.num_groups, c // self.num_groups)
        weight = mask[:, :, None, None] / (mask.sum(1).clamp(min=1)[:, None, None, None] * grouped.shape[-1])
        mean = (grouped * weight).sum((1, 3), keepdim=True)
        variance = ((grouped - mean).square() * weight).sum((1, 3), keepdim=True)
        return ((grouped - mean) / (variance + self.eps).sqrt()).reshape(n, t, c) * self.weight + self.bias


def other_tempo(x: Tensor, lengths: Tensor) -> Tensor:
    """Change the tempo of random segments of sequences: each segment is stretched or shrunk by a factor of 0.5 to 1.5.

    A segment has 19 to 32 steps. The sequences keep their lengths: longer results are cut off, shorter ones are filled
    with 0.

    Args:
        x: N sequences of T steps with C channels, [N, T, C].
        lengths: number of steps of each sequence, [N].
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
    own = (source <= (lengths - 1)[:, None]) & length_mask(lengths, longest)
    low = source.long().clamp(max=longest - 1)
    below, above = (
        x.gather(1, i.unsqueeze(-1).expand_as(x)) for i in (low, (low + 1).clamp(max=longest - 1))
    )
    return torch.lerp(below, above, (source - low).clamp(0, 1).unsqueeze(-1)) * own.unsqueeze(-1)


class Prosody(nn.Module):
    """Adds prosody to the speech features h_a (Eq. 2): F_a = h_a + LN(Enc(h_a)).

    Enc encodes pitch and rhythm, and maps these codes linearly to the width of h_a.

    Args:
        width: width of h_a.
        sizes: LSTM units of pitch and rhythm for one direction: 64 and 2 (`wide`), or 32 and 1 (`narrow`).
        tracks: whether the encoders take pitch classes and mel bands instead of h_a.
        resample: in training, change the tempo of random segments inside the pitch encoder.
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
        """Load the published weights of the voice conversion network into the encoders of pitch and rhythm.

        Without `tracks`, the first convolutions are not loaded, because they do not fit h_a.

        Raises:
            WeightsError: the checkpoint is missing, damaged or from another network.
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
        """Encode pitch and rhythm of speech features as codes (the outputs of both encoders, concatenated).

        Args:
            h: speech features h_a of N windows, [N, T, width]: T frames.
            lengths: number of frames of each window, [N].

        Returns:
            Codes, [N, T, 132]; with `sizes: narrow`, [N, T, 66].
        """
        held = lengths.clamp(min=1)
        return torch.cat([self.pitch(h, held), self.rhythm(h, held)], -1)

    def codes_of_tracks(
        self, pitch: WindowedSequence, bands: WindowedSequence, lengths: Tensor, longest: int
    ) -> Tensor:
        """Encode pitch classes and mel bands, and resample the codes (the encoder's outputs) to the length of h_a.

        Args:
            pitch: pitch class of each of the T frames of N windows, [N, T].
            bands: mel bands of the same frames, [N, T, 80].
            lengths: number of speech frames h_a of each window, [N].
            longest: number of steps of the result, with padding.

        Returns:
            Codes, [N, longest, 132]; with `sizes: narrow`, [N, longest, 66].
        """
        held = bands.lengths.clamp(min=1)
        classes = F.one_hot(pitch.values.long(), PITCHES).to(bands.values.dtype)
        codes = torch.cat([self.pitch(classes, held), self.rhythm(bands.values, held)], -1)
        return resample_lengths(codes, bands.lengths, lengths, longest)

    def forward(
        self, h: Tensor, lengths: Tensor, tracks: tuple[WindowedSequence, WindowedSequence] | None = None
    ) -> Tensor:
        """Encode pitch (pitch classes) and rhythm (mel bands), and add both to the speech features.

        Args:
            h: speech features h_a of N windows, [N, T, width]: T frames.
            lengths: number of frames of each window, [N].
            tracks: pitch classes and mel bands; None if the two encoders take `h` instead. A window without mel
                bands is returned as it is.

        Returns:
            Speech features with prosody F_a, [N, T, width].
        """
        if tracks is None:
            found: Tensor = h + self.norm(self.out(self.codes(h, lengths)))
            return found
        codes = self.codes_of_tracks(*tracks, lengths, h.shape[1])
        there = (tracks[1].lengths > 0)[:, None, None]
        found = h + self.norm(self.out(codes)) * there
        return found


def released_name(name: str) -> str:
    """Translate the name of a tensor in the published checkpoint (generator `G1`) to the name in this model.

    Names of tensors that this model does not have are returned unchanged.
    """
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
