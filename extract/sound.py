"""Sound of a clip: how FFmpeg is asked for it, and which of its samples belong to a stretch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from extract.decode import Output
from extract.encoders.base import FloatArray
from extract.probe import Probe

_SHOWN: Final = re.compile(
    r"^\[ashowinfo@s @ \w+\] \[info\] n:\d+ pts:(-?\d+|NOPTS) .* channels:(\d+) .*rate:(\d+) nb_samples:(\d+) ",
    re.MULTILINE,
)
# Numbers of channels for which FFmpeg assumes a layout where the file names none.
_LAYOUTS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24})
_LONGEST_PIECE: Final = 2.0  # seconds; decoders give sound in pieces, which are chosen whole


@dataclass(frozen=True)
class Sound:
    """Sound as it was decoded, in pieces that may lie apart in time.

    Attributes:
        samples: mono, of all pieces one after the other, [n].
        rate: Hz.
        begins: time of each piece's first sample, in samples from timestamp 0, [pieces].
        ends: where each piece ends in `samples`, [pieces].
    """

    samples: FloatArray
    rate: int
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def between(self, start: float, end: float) -> FloatArray:
        """Samples of [start, end), seconds; either may be infinite."""
        firsts = np.concatenate([[0], self.ends])[:-1]
        lengths = self.ends - firsts
        low = np.clip(_sample(start, self.rate) - self.begins, 0, lengths)
        high = np.clip(_sample(end, self.rate) - self.begins, 0, lengths)
        parts = [self.samples[f + a : f + b] for f, a, b in zip(firsts, low, high, strict=True) if b > a]
        return np.concatenate([np.empty(0, np.float32), *parts])


def window(ref: MediaRef, facts: Probe, longest: float) -> tuple[float, float]:
    """First and last instant of a stretch on the file's own clock; the first of a whole file is open."""
    start = (ref.start or 0.0) + facts.origin
    end = min(float("inf") if ref.end is None else ref.end + facts.origin, start + longest)
    return (-np.inf if ref.start is None else start), max(end, start)


def sound_output(source: Any, windows: Sequence[tuple[float, float]], facts: Probe) -> Output:
    """An output of float32 at the native rate that holds at least the windows; mono where FFmpeg knows how to mix."""
    stream = source[f"a:{facts.audio_rank}"].filter("atrim", end=f"{max(end for _, end in windows):.7f}")
    if all(np.isfinite(start) for start, _ in windows):
        terms = "+".join(f"between(t,{start - _LONGEST_PIECE:.7f},{end:.7f})" for start, end in windows)
        stream = stream.filter("aselect", terms)
    # rematrix_maxval: FFmpeg lets a float downmix grow louder than its input unless told otherwise.
    mix = {"ochl": "mono", "rematrix_maxval": 1} if facts.audio_channels in _LAYOUTS else {}
    stream = stream.filter("aresample", osf="flt", **mix).filter("ashowinfo@s")
    return stream, {"format": "f32le", "acodec": "pcm_f32le"}


def decoded(output: bytes, said: str, rate: int) -> Sound:
    """What came out of the decoder, channels that FFmpeg did not mix averaged; `rate` counts where it gave no piece."""
    samples = np.frombuffer(output, "<f4", len(output) // 4).astype(np.float32, copy=False)
    shown = _SHOWN.findall(said)
    channels = int(shown[0][1]) if shown else 1
    if channels > 1:
        samples = samples[: len(samples) // channels * channels].reshape(-1, channels).mean(axis=1)
    begins: list[int] = []
    ends: list[int] = [0]
    for pts, _, shown_rate, count in shown:
        rate = int(shown_rate)
        after = begins[-1] + ends[-1] - ends[-2] if begins else 0
        begins.append(after if pts == "NOPTS" else int(pts))
        ends.append(min(ends[-1] + int(count), len(samples)))
    return Sound(samples, rate, np.array(begins, np.int64), np.array(ends[1:], np.int64))


def resample(sound: FloatArray, rate: int, target: int) -> FloatArray:
    """Sound at another rate, by soxr (HQ); resample once, from the native rate."""
    if rate == target:
        return sound
    return np.asarray(soxr.resample(sound, rate, target, quality="HQ"), np.float32)


def _sample(seconds: float, rate: int) -> int:
    return int(np.clip(round(seconds * rate) if np.isfinite(seconds) else seconds, -(2**62), 2**62))
