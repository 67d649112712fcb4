"""Sound of a clip: decoded pieces with their times, cut to a stretch, mixed to one channel and resampled once."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import av
import av.filter
import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from extract.media.probe import Probe
from extract.media.types import FloatArray

# Numbers of channels for which FFmpeg assumes a layout where the file names none.
_LAYOUTS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24})
_FULL_SCALE: Final = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_FAR: Final = 1 << 62  # samples from any instant of a file
PLANES: Final = 8  # channels, each in a plane of its own, beyond which PyAV reads memory that is not there
CANCELLED: Final = (
    0.01  # power of a mix over that of its channels, below which they take each other out (-20 dB)
)
OPPOSED: Final = "the channels are each other's opposite: the louder one is heard alone"


@dataclass(frozen=True)
class Piece:
    """Sound that came out of the decoder at once.

    Attributes:
        samples: as they are coded, [channels, n].
        rate: Hz.
        begin: of the first sample, in samples of this rate from timestamp 0 of the file.
        weights: of each channel in the mix, [channels].
        scale: what stands for 1.
    """

    samples: NDArray[Any]
    rate: int
    begin: int
    weights: tuple[float, ...]
    scale: float = 1.0

    @property
    def end(self) -> int:
        """Behind the last sample."""
        return self.begin + int(self.samples.shape[1])

    def floats(self) -> FloatArray:
        """The samples in [-1, 1], [channels, n]."""
        if self.scale == 1.0:
            return np.asarray(self.samples, np.float32)
        exact = np.float32 if self.samples.itemsize <= 2 else np.float64
        floats: NDArray[Any] = self.samples.astype(exact)
        if self.samples.dtype == np.uint8:
            floats -= self.scale
        return np.asarray(floats / self.scale, np.float32)


def between(pieces: Sequence[Piece], start: float, end: float) -> list[Piece]:
    """What lies in [start, end), seconds; pieces that follow each other without a gap are one."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if piece.end <= start * piece.rate or piece.begin >= end * piece.rate:
            continue
        if runs and _follows(runs[-1][-1], piece):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    found = []
    for run in runs:
        samples = np.concatenate([piece.samples for piece in run], axis=1)
        first = run[0]
        low = max(_sample(start, first.rate) - first.begin, 0)
        high = min(_sample(end, first.rate) - first.begin, samples.shape[1])
        if high > low:
            found.append(replace(first, samples=samples[:, low:high], begin=first.begin + low))
    return found


def _follows(piece: Piece, other: Piece) -> bool:
    same = (piece.rate, piece.weights, piece.scale) == (other.rate, other.weights, other.scale)
    return same and piece.end == other.begin


def window(ref: MediaRef, facts: Probe, longest: float) -> tuple[float, float]:
    """First and last instant of a stretch on the file's own clock, seconds; the first of a whole file is open."""
    start = (ref.start or 0.0) + facts.origin
    end = min(float("inf") if ref.end is None else ref.end + facts.origin, start + longest)
    return (-np.inf if ref.start is None else start), max(end, start)


def piece_of(frame: Any, tick: Fraction, after: Piece | None) -> Piece:
    """A decoded frame as a piece.

    Args:
        tick: seconds of the clock by which frames say when they begin.
        after: the piece before, which one follows that does not say it.
    """
    rate = frame.sample_rate
    if frame.pts is None:
        at = 0 if after is None else round(after.end * rate / after.rate)
    else:
        at = round(frame.pts * tick.numerator * rate / tick.denominator)
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > PLANES:
        (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    samples = frame.to_ndarray()
    if not frame.format.is_planar and channels > 1:
        samples = samples.reshape(-1, channels).T
    scale = _FULL_SCALE.get(frame.format.name.removesuffix("p"), 1.0)
    return Piece(samples, rate, at, weights_of(frame.layout.name, channels), scale)


@functools.cache
def weights_of(layout: str, channels: int) -> tuple[float, ...]:
    """How much of each channel FFmpeg puts into one, without growing louder than full scale, [channels].

    Channels whose places nobody knows count alike.
    """
    if channels == 1:
        return (1.0,)
    if channels not in _LAYOUTS:
        return (1 / channels,) * channels
    known = layout if "channels" not in layout else av.AudioLayout(_default_layout(channels)).name
    graph = av.filter.Graph()
    steps = [
        graph.add("abuffer", f"sample_rate=8000:sample_fmt=flt:time_base=1/8000:channel_layout={known}"),
        # rematrix_maxval: FFmpeg lets a float downmix grow louder than its input unless told otherwise.
        graph.add("aresample", "osf=fltp:ochl=mono:rematrix_maxval=1"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*steps).configure()
    impulses = np.eye(channels, dtype=np.float32).reshape(
        1, -1
    )  # packed: PyAV has planes for 8 channels only
    frame = av.AudioFrame.from_ndarray(impulses, format="flt", layout=known)
    frame.sample_rate, frame.pts = 8000, 0
    graph.push(frame)
    return tuple(float(w) for w in graph.pull().to_ndarray()[0])


def _default_layout(channels: int) -> str:
    names = {
        1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
        10: "5.1.4", 12: "7.1.4", 16: "hexadecagonal", 24: "22.2",
    }  # fmt: skip
    return names[channels]


def mixed(pieces: Sequence[Piece]) -> tuple[list[tuple[int, FloatArray]], bool]:
    """The pieces in one channel, as runs of one rate (Hz, samples [n]), and whether opposed channels were not mixed.

    Of two channels that take each other out, as with a plug wired the wrong way round, the louder one is heard.
    """
    floats = [p.floats() for p in pieces]
    parts = [(p.rate, _mix(p.weights, f)) for p, f in zip(pieces, floats, strict=True)]
    opposed = False
    if pieces and all(len(p.weights) == 2 for p in pieces):
        both = np.concatenate(floats, axis=1).astype(np.float64)
        power = (both**2).mean(axis=1)
        mix = float(np.mean(np.concatenate([part for _, part in parts]).astype(np.float64) ** 2))
        with np.errstate(invalid="ignore"):
            opposed = bool(
                power.min() > 0 and mix < CANCELLED * (power * np.array(pieces[0].weights) ** 2).sum()
            )
        if opposed:
            louder = int(power.argmax())
            parts = [(p.rate, f[louder]) for p, f in zip(pieces, floats, strict=True)]
    runs: list[tuple[int, list[FloatArray]]] = []
    for rate, part in parts:
        if runs and runs[-1][0] == rate:
            runs[-1][1].append(part)
        else:
            runs.append((rate, [part]))
    return [(rate, np.concatenate(of_run)) for rate, of_run in runs], opposed


def _mix(weights: Sequence[float], channels: FloatArray) -> FloatArray:
    """Weighted sum of channels [channels, n], one after the other: a product of matrices would wake all cores."""
    mix: FloatArray = channels[0] * np.float32(weights[0])
    for weight, channel in zip(weights[1:], channels[1:], strict=True):
        mix += np.float32(weight) * channel
    return mix


def resampled(runs: Sequence[tuple[int, FloatArray]], target: int) -> FloatArray:
    """Runs of sound at one rate, one after the other, [n]."""
    return np.concatenate([np.empty(0, np.float32), *(resample(sound, rate, target) for rate, sound in runs)])


def resample(sound: FloatArray, rate: int, target: int) -> FloatArray:
    """Sound at another rate, by soxr (HQ); resample once, from the native rate."""
    if rate == target:
        return sound
    return np.asarray(soxr.resample(sound, rate, target, quality="HQ"), np.float32)


def _sample(seconds: float, rate: int) -> int:
    if math.isinf(seconds):
        return _FAR if seconds > 0 else -_FAR
    return max(-_FAR, min(_FAR, round(seconds * rate)))


def seconds_of(pieces: Sequence[Piece]) -> float:
    """How much sound the pieces hold, seconds."""
    return float(sum(p.samples.shape[1] / p.rate for p in pieces))
