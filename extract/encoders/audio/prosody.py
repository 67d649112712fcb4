"""Prosody, how something is said: pitch, loudness, rhythm and voice quality, computed with librosa and numpy.

No network is used. The constant `NAMES` lists the values of an utterance's vector in order. Pitch is in semitones above
100 Hz, loudness in decibels relative to full scale. In an utterance without voice, the values of pitch and voice are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.common import encode_singly, load_librosa
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray

RATE = 16000
HOP = 160  # 10 ms
WINDOW = 400  # 25 ms, for loudness and spectrum
PITCH_WINDOW = 1024  # 64 ms: two periods of 60 Hz, and room for a lag of one
FLOOR_DB = -100.0
VOICED_BELOW_PEAK = 35.0  # dB; quieter frames have no voice
ACTIVE_BELOW_PEAK = 25.0  # dB; quieter frames are pause
MIN_PERIODICITY = 0.5  # correlation of neighbouring periods above which a frame may be voiced
SYLLABLE_GAP = (
    10  # smallest distance of two loudness peaks in frames: the fastest speech has ten syllables a second
)

_PITCH = ("median", "mean", "std", "p10", "p90", "range", "slope", "end", "change")
_LOUD = ("mean", "std", "p10", "p90", "range", "slope", "change")
_SPECTRUM = ("centroid", "rolloff", "flatness", "zero_crossings", "flux", "tilt")
NAMES: tuple[str, ...] = (
    *(f"pitch_{name}" for name in _PITCH),
    *("jitter", "shimmer", "periodicity_mean", "periodicity_std"),
    *(f"loudness_{name}" for name in _LOUD),
    *("duration", "voiced_share", "pause_share", "pause_longest", "pause_rate"),
    *("syllable_rate", "voiced_stretch_mean", "voiced_stretch_rate"),
    *(f"{name}_{statistic}" for name in _SPECTRUM for statistic in ("mean", "std")),
)
FRAME_NAMES = ("log2_f0", "voiced", "rms_db", "periodicity")


class ProsodyParams(Strict):
    """Parameters of `audio/prosody`.

    Attributes:
        fmin: lowest pitch that is searched for, Hz.
        fmax: highest pitch that is searched for, Hz.
        seconds: a sound that is shorter than this gets no feature.
    """

    fmin: float = Field(60, ge=50, le=200)
    fmax: float = Field(500, ge=250, le=1000)
    seconds: float = Field(0.1, ge=0.064)


@dataclass(frozen=True)
class Contour:
    """Pitch, voice, loudness and periodicity of a sound over time: four arrays [T], one value per 10 ms (frame).

    `f0` is the pitch in Hz; only frames with `voiced` true have a reliable one. `loudness` is in dB. `periodicity` says
    how similar successive pitch periods are, as a correlation.
    """

    f0: FloatArray
    voiced: NDArray[np.bool_]
    loudness: FloatArray
    periodicity: FloatArray

    @property
    def active(self) -> NDArray[np.bool_]:
        """Mask [T]: True for frames of speech, at most 25 dB below the loudest frame; False for pauses."""
        return np.asarray(self.loudness > self.loudness.max() - ACTIVE_BELOW_PEAK)


class Prosody:
    """Computes 40 statistics of pitch, loudness, rhythm and voice of an utterance, and four values for every 10 ms.

    The statistics are the array `pooled`, named in `NAMES`. The values per 10 ms are the array `frames`, named in
    `FRAME_NAMES`; there the logarithm of the pitch (`log2_f0`) is 0 where there is no voice.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/prosody",
        modality="audio",
        summary="pitch, loudness, rhythm and voice quality (librosa)",
        batch="one",
        version=1,
        licence="ISC",
    )
    Params: ClassVar[type[BaseModel]] = ProsodyParams

    def __init__(self, params: ProsodyParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params
        load_librosa()

    @staticmethod
    def input(params: ProsodyParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: ProsodyParams) -> tuple[ArraySpec, ...]:
        """Declare two arrays of an utterance: `pooled` [1, 40], 40 statistics, and `frames` [T, 4], 4 values per 10 ms.

        The constants `NAMES` and `FRAME_NAMES` name the columns.
        """
        return (
            ArraySpec("pooled", "vector", ("utterance", "statistic"), (len(NAMES),)),
            ArraySpec(
                "frames", "sequence", ("10ms", "log2_f0_voiced_rms_db_periodicity"), (len(FRAME_NAMES),)
            ),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute the prosody values of each sound.

        Returns:
            For each sound, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_singly(samples, max(PITCH_WINDOW, round(self.params.seconds * RATE)), self._one)

    def _one(self, sound: FloatArray) -> Encoded | Missing:
        contour = trace_contour(sound, self.params.fmin, self.params.fmax)
        pooled = np.array(
            [
                *pitch_numbers(contour),
                *voice_numbers(contour),
                *loudness_numbers(contour),
                *rhythm_numbers(contour, len(sound) / RATE),
                *spectrum_numbers(sound, contour.active),
            ],
            dtype=np.float32,
        )[None]
        log_f0 = np.where(contour.voiced, np.log2(contour.f0), 0)
        frames = np.stack([log_f0, contour.voiced, contour.loudness, contour.periodicity], axis=1)
        if not (np.isfinite(pooled).all() and np.isfinite(frames).all()):
            return Missing(Reason.FAULT, "the encoder's values are not finite")
        return Encoded({"pooled": pooled, "frames": frames.astype(np.float32)}, frames=len(frames))


def trace_contour(sound: FloatArray, fmin: float, fmax: float) -> Contour:
    """Measure pitch (by the YIN method), voice, loudness and periodicity of a sound every 10 ms.

    A frame (10 ms) counts as voiced if it is loud enough, and if successive pitch periods are similar enough.
    """
    import librosa
    from scipy.ndimage import median_filter

    f0 = librosa.yin(
        sound,
        fmin=fmin,
        fmax=fmax,
        sr=RATE,
        frame_length=PITCH_WINDOW,
        hop_length=HOP,
        trough_threshold=0.1,
        center=True,
        pad_mode="constant",
    )
    rms = librosa.feature.rms(y=sound, frame_length=WINDOW, hop_length=HOP, center=True, pad_mode="constant")[
        0
    ]
    loudness = np.maximum(20 * np.log10(np.maximum(rms, 1e-10)), FLOOR_DB)
    periodicity = correlate_periods(sound, f0)
    loud = loudness > max(float(loudness.max()) - VOICED_BELOW_PEAK, -70.0)
    inside = (f0 > 1.02 * fmin) & (
        f0 < 0.98 * fmax
    )  # YIN returns the ends of its range if it finds no period
    voiced = median_filter(loud & inside & (periodicity > MIN_PERIODICITY), size=5, mode="nearest")
    return Contour(f0.astype(np.float32), voiced, loudness.astype(np.float32), periodicity.astype(np.float32))


def correlate_periods(sound: FloatArray, f0: FloatArray) -> FloatArray:
    """Return for each of T frames how similar the sound is to the sound one pitch period later, [T].

    The value is a correlation: near 1 for voice, near 0 for noise, and 0 for silence.

    Args:
        sound: mono samples at 16 kHz, [n].
        f0: pitch of each frame of 10 ms, Hz, [T].
    """
    half = PITCH_WINDOW // 2
    padded = np.pad(sound, (half, half + PITCH_WINDOW))
    starts = np.arange(len(f0)) * HOP
    lags = np.rint(RATE / f0).astype(int)
    # Two pieces of half a window, one lag apart, together centred on the frame.
    first = starts + (PITCH_WINDOW - half - lags) // 2
    windows = np.lib.stride_tricks.sliding_window_view(padded, half)
    a, b = windows[first], windows[first + lags]  # [T, half]
    product = np.einsum("ti,ti->t", a, b)
    energy = np.sqrt(np.einsum("ti,ti->t", a, a) * np.einsum("ti,ti->t", b, b))
    return np.asarray(np.divide(product, energy, out=np.zeros_like(product), where=energy > 1e-8))


def pitch_numbers(contour: Contour) -> list[float]:
    """Return nine statistics of the pitch in frames with voice, in semitones above 100 Hz; all are 0 without voice.

    They are, in order: median, mean, standard deviation, 10th percentile, 90th percentile, distance between these two
    percentiles, slope (semitones per second), pitch in the last 0.2 s of voice minus the median, and mean absolute
    change from frame to frame.
    """
    if not contour.voiced.any():
        return [0.0] * len(_PITCH)
    tone = 12 * np.log2(contour.f0[contour.voiced] / 100)
    times = np.flatnonzero(contour.voiced) * HOP / RATE
    low, median, high = np.percentile(tone, [10, 50, 90])
    end = float(np.median(tone[-20:]) - median)  # the last 0.2 s of voice: rising questions, falling ends
    change = np.abs(np.diff(tone))[np.diff(times) < 1.5 * HOP / RATE]
    return [
        *(median, tone.mean(), tone.std(), low, high, high - low),
        *(slope_of(times, tone), end, _mean(change)),
    ]


def voice_numbers(contour: Contour) -> list[float]:
    """Return four values of voice quality over the frames with voice; all are 0 without voice.

    They are, in order: jitter (mean relative change of the pitch period from frame to frame), shimmer (mean change of
    the loudness from frame to frame, dB), and mean and standard deviation of the periodicity (similarity of successive
    pitch periods).
    """
    if not contour.voiced.any():
        return [0.0] * 4
    both = contour.voiced[1:] & contour.voiced[:-1]
    period = 1 / contour.f0
    jump = np.abs(np.diff(period))[both] / period[1:][both]
    jitter = _mean(jump[jump < 0.3])  # larger ones are octave errors of the tracker
    shimmer = _mean(np.abs(np.diff(contour.loudness))[both])
    periodicity = contour.periodicity[contour.voiced]
    return [jitter, shimmer, float(periodicity.mean()), float(periodicity.std())]


def loudness_numbers(contour: Contour) -> list[float]:
    """Return seven statistics of the loudness in frames outside pauses, in decibels.

    They are, in order: mean, standard deviation, 10th percentile, 90th percentile, distance between these two
    percentiles, slope (decibels per second), and mean absolute change from frame to frame.
    """
    level = contour.loudness[contour.active]
    times = np.flatnonzero(contour.active) * HOP / RATE
    low, high = np.percentile(level, [10, 90])
    change = _mean(np.abs(np.diff(level)))
    return [float(level.mean()), float(level.std()), low, high, high - low, slope_of(times, level), change]


def rhythm_numbers(contour: Contour, seconds: float) -> list[float]:
    """Return eight values of the rhythm of an utterance that lasts `seconds` seconds.

    They are, in order: duration (s), share of frames with voice, share of pauses in the time from first to last speech,
    longest pause (s), pauses per second, syllables per second, and mean length (s) and number per second of stretches
    of uninterrupted voice.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    active = np.flatnonzero(contour.active)
    inner = ~contour.active[active[0] : active[-1] + 1]  # silence before and after the speech is no pause
    pauses = [n for n in run_lengths(inner) if n >= 15]  # 150 ms; shorter ones are plosives inside words
    voiced = run_lengths(contour.voiced)
    smooth = gaussian_filter1d(contour.loudness, 3.0, mode="nearest")
    height = contour.loudness.max() - ACTIVE_BELOW_PEAK
    peaks, _ = find_peaks(smooth, height=height, prominence=2.0, distance=SYLLABLE_GAP)
    return [
        *(seconds, float(contour.voiced.mean()), sum(pauses) / len(inner)),
        *(max(pauses, default=0) * HOP / RATE, len(pauses) / seconds, len(peaks) / seconds),
        *(_mean(np.array(voiced)) * HOP / RATE, len(voiced) / seconds),
    ]


def spectrum_numbers(sound: FloatArray, active: NDArray[np.bool_]) -> list[float]:
    """Return twelve values: mean and standard deviation of six properties of the spectrum in frames outside pauses.

    The six are: centroid (kHz), rolloff at 85 % (kHz), flatness (log10), zero crossings per sample, flux and tilt. Flux
    is the change between successive spectra, each scaled to sum 1. Tilt is the power below 1 kHz relative to the power
    above 1 kHz, in dB.

    Args:
        sound: mono samples at 16 kHz, [n].
        active: True for each of T frames of 10 ms outside pauses, [T].
    """
    import librosa

    spectrum = np.abs(
        librosa.stft(sound, n_fft=512, hop_length=HOP, win_length=WINDOW, center=True, pad_mode="constant")
    )
    power = spectrum**2 + 1e-10
    crossings = librosa.feature.zero_crossing_rate(
        sound, frame_length=WINDOW, hop_length=HOP, center=True, pad=False
    )[0]
    unit = spectrum / (spectrum.sum(axis=0) + 1e-10)
    above = librosa.fft_frequencies(sr=RATE, n_fft=512) >= 1000
    rows = (
        librosa.feature.spectral_centroid(S=spectrum, sr=RATE)[0] / 1000,
        librosa.feature.spectral_rolloff(S=spectrum, sr=RATE, roll_percent=0.85)[0] / 1000,
        np.log10(librosa.feature.spectral_flatness(S=spectrum, amin=1e-10, power=2.0)[0]),
        crossings,
        np.abs(np.diff(unit, axis=1, prepend=unit[:, :1])).sum(axis=0),
        10 * np.log10(power[~above].sum(axis=0) / power[above].sum(axis=0)),
    )
    return [number for row in rows for number in (float(row[active].mean()), float(row[active].std()))]


def slope_of(times: NDArray[np.floating], values: NDArray[np.floating]) -> float:
    """Return the slope of the straight line that fits values over time best, per second; 0 for fewer than 5 values."""
    if len(times) < 5:
        return 0.0
    centred = times - times.mean()
    return float((centred * (values - values.mean())).sum() / (centred**2).sum())


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return how long each uninterrupted run of True values in a mask of T frames is, in frames, first run first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [int(n) for n in edges[1::2] - edges[::2]]


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else 0.0


ENTRY: Final[EncoderKind] = Prosody
