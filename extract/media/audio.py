"""The sound of a clip: decode it in pieces, cut it to a time span, mix it down to one channel and resample it once."""

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

# Channel counts for which FFmpeg assumes a layout when the file names none.
_CHANNEL_COUNTS_WITH_LAYOUT: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24})
_FULL_SCALE: Final = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_FAR_SAMPLE: Final = 1 << 62  # a sample number beyond any file
MAX_PLANES: Final = 8  # with more planar channels than this, PyAV reads memory that does not exist
# Power of the mix, relative to the power of its channels, below which the channels cancel each other (-20 dB).
CANCELLATION: Final = 0.01
OPPOSED: Final = "the channels are each other's opposite: the louder one is heard alone"


@dataclass(frozen=True)
class SoundPiece:
    """A short stretch of decoded sound with all its channels, as the decoder returns it in one call.

    Attributes:
        samples: n samples per channel as coded in the file, [channels, n].
        rate: sampling rate, Hz.
        begin: position of the first sample: number of samples at this rate since timestamp 0 of the file.
        weights: weight of each channel in the mono mix, [channels].
        scale: full scale of the sample format, by which samples are divided to lie in [-1, 1] (32768 for 16 bits).
    """

    samples: NDArray[Any]
    rate: int
    begin: int
    weights: tuple[float, ...]
    scale: float = 1.0

    @property
    def end(self) -> int:
        """Position after the last sample: number of samples at rate `rate` since timestamp 0 of the file."""
        return self.begin + int(self.samples.shape[1])

    def floats(self) -> FloatArray:
        """Return the samples as float32, scaled to [-1, 1], [channels, n]: n samples of each channel."""
        if self.scale == 1.0:
            return np.asarray(self.samples, np.float32)
        exact = np.float32 if self.samples.itemsize <= 2 else np.float64
        floats: NDArray[Any] = self.samples.astype(exact)
        if self.samples.dtype == np.uint8:
            floats -= self.scale
        return np.asarray(floats / self.scale, np.float32)


def sound_between(pieces: Sequence[SoundPiece], start: float, end: float) -> list[SoundPiece]:
    """Cut the sound of a time span out of decoded pieces, and join pieces that have no gap between them.

    Args:
        pieces: decoded sound, in the order of the file.
        start, end: limits of the time span, in seconds of the file's own timestamps; `end` is exclusive.
    """
    runs: list[list[SoundPiece]] = []
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
        low = max(_sample_at(start, first.rate) - first.begin, 0)
        high = min(_sample_at(end, first.rate) - first.begin, samples.shape[1])
        if high > low:
            found.append(replace(first, samples=samples[:, low:high], begin=first.begin + low))
    return found


def _follows(piece: SoundPiece, other: SoundPiece) -> bool:
    same = (piece.rate, piece.weights, piece.scale) == (other.rate, other.weights, other.scale)
    return same and piece.end == other.begin


def sound_window(ref: MediaRef, facts: Probe, longest: float) -> tuple[float, float]:
    """Return where the sound of an utterance starts and ends in its file, in seconds of the file's own timestamps.

    If `ref` names no start, the sound starts at minus infinity, so that sound before time 0 is included.

    Args:
        ref: the file, and the time range of the utterance in it.
        facts: properties of the file.
        longest: the sound is cut after this many seconds.
    """
    start = (ref.start or 0.0) + facts.origin
    end = min(float("inf") if ref.end is None else ref.end + facts.origin, start + longest)
    return (-np.inf if ref.start is None else start), max(end, start)


def sound_piece(frame: Any, tick: Fraction, after: SoundPiece | None) -> SoundPiece:
    """Turn a frame from FFmpeg's audio decoder into a `SoundPiece`.

    Args:
        frame: the frame: some successive samples of all channels.
        tick: unit of the frame's timestamps, seconds.
        after: the previous piece, or None; a frame without a timestamp is placed directly after it.
    """
    rate = frame.sample_rate
    if frame.pts is None:
        at = 0 if after is None else round(after.end * rate / after.rate)
    else:
        at = round(frame.pts * tick.numerator * rate / tick.denominator)
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > MAX_PLANES:
        (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    samples = frame.to_ndarray()
    if not frame.format.is_planar and channels > 1:
        samples = samples.reshape(-1, channels).T
    scale = _FULL_SCALE.get(frame.format.name.removesuffix("p"), 1.0)
    return SoundPiece(samples, rate, at, downmix_weights(frame.layout.name, channels), scale)


@functools.cache
def downmix_weights(layout: str, channels: int) -> tuple[float, ...]:
    """Return the weight of each channel when FFmpeg mixes all channels to mono, [channels].

    The weights are normalised so that the mix cannot exceed full scale. If FFmpeg knows no layout (left, right,
    centre, ...) for this number of channels, all weights are equal.

    Args:
        layout: FFmpeg's name of the layout, for example `stereo` or `5.1`.
        channels: number of channels.
    """
    if channels == 1:
        return (1.0,)
    if channels not in _CHANNEL_COUNTS_WITH_LAYOUT:
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


def mix_down(pieces: Sequence[SoundPiece]) -> tuple[list[tuple[int, FloatArray]], bool]:
    """Mix the channels of decoded sound to one channel.

    If the two channels of a stereo recording cancel each other (as when one plug is wired with reversed polarity), they
    are not mixed: only the louder channel is used.

    Returns:
        Two things: the mono sound, and whether the channels cancelled each other. The sound is a list of (sampling
        rate in Hz, n samples [n]). It has one item if the rate never changes, and a new one after each change.
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
                power.min() > 0 and mix < CANCELLATION * (power * np.array(pieces[0].weights) ** 2).sum()
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
    """Return the weighted sum of all channels of a sound with n samples, [channels, n] -> [n].

    One channel is added at a time, because a matrix product would start threads on all cores.
    """
    mix: FloatArray = channels[0] * np.float32(weights[0])
    for weight, channel in zip(weights[1:], channels[1:], strict=True):
        mix += np.float32(weight) * channel
    return mix


def resampled(runs: Sequence[tuple[int, FloatArray]], target: int) -> FloatArray:
    """Resample successive mono sounds to one sampling rate and join them to one array of samples.

    Args:
        runs: for each sound, its sampling rate in Hz and its n samples, [n].
        target: sampling rate of the result, Hz.
    """
    return np.concatenate([np.empty(0, np.float32), *(resample(sound, rate, target) for rate, sound in runs)])


def resample(sound: FloatArray, rate: int, target: int) -> FloatArray:
    """Resample a sound from `rate` to `target` Hz with soxr (quality HQ). Do this only once, from the native rate."""
    if rate == target:
        return sound
    return np.asarray(soxr.resample(sound, rate, target, quality="HQ"), np.float32)


def _sample_at(seconds: float, rate: int) -> int:
    if math.isinf(seconds):
        return _FAR_SAMPLE if seconds > 0 else -_FAR_SAMPLE
    return max(-_FAR_SAMPLE, min(_FAR_SAMPLE, round(seconds * rate)))


def seconds_of(pieces: Sequence[SoundPiece]) -> float:
    """Return the total duration of the pieces, seconds."""
    return float(sum(p.samples.shape[1] / p.rate for p in pieces))
