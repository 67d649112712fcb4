"""Mel-frequency cepstral coefficients (librosa), the classic description of the sound's colour."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, FloatArray, Input, Sample

SILENCE = 2.0**-16  # half a step of 16-bit sound
LOUDEST = 1e4  # far outside [-1, 1]: a damaged float file, whose squares overflow


def unusable(sound: FloatArray | None, least: int) -> Missing | None:
    """Why a sound cannot be described, if so.

    Args:
        least: smallest number of samples.
    """
    if sound is None or len(sound) == 0:
        return Missing(Reason.NO_AUDIO)
    if len(sound) < least:
        return Missing(Reason.TOO_SHORT, f"{len(sound)} samples, at least {least} are needed")
    if not np.isfinite(sound).all():
        return Missing(Reason.UNREADABLE, "samples that are not finite")
    peak = float(np.abs(sound).max())
    if peak > LOUDEST:
        return Missing(Reason.UNREADABLE, f"samples up to {peak:.3g}, sound lies in [-1, 1]")
    return Missing(Reason.SILENT) if peak < SILENCE else None


class MfccParams(Strict):
    """Switches of `audio/mfcc`.

    Attributes:
        n_mfcc: coefficients.
        rate: of the sound, Hz.
        n_fft, hop: window and step, samples.
        n_mels: mel bands, from 0 Hz to half the rate.
        deltas: whether `pooled` also describes the change from frame to frame.
    """

    n_mfcc: int = Field(20, ge=1, le=128)
    rate: int = Field(22050, ge=4000)
    n_fft: int = Field(2048, ge=64)
    hop: int = Field(512, ge=1)
    n_mels: int = Field(128, ge=8)
    deltas: bool = True


class Mfcc:
    """`frames` are the coefficients; `pooled` is their mean and deviation, then the same of their deltas.

    Decibels count from the loudest frame of the clip (top_db 80), so a clip is always encoded alone.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/mfcc",
        modality="audio",
        summary="mel-frequency cepstral coefficients (librosa)",
        batch="one",
        version=1,
        licence="ISC",
    )
    Params: ClassVar[type[BaseModel]] = MfccParams

    def __init__(self, params: MfccParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: MfccParams) -> Input:
        """Sound at `rate`."""
        return Input(rate=params.rate)

    @staticmethod
    def arrays(params: MfccParams) -> tuple[ArraySpec, ...]:
        """`frames` [T, n_mfcc], one each `hop` samples; `pooled` [1, 4 n_mfcc] (2 n_mfcc without deltas)."""
        width = params.n_mfcc * (4 if params.deltas else 2)
        return (
            ArraySpec("pooled", "vector", ("utterance", "statistic"), (width,)),
            ArraySpec("frames", "sequence", ("frame", "coefficient"), (params.n_mfcc,)),
        )

    def length(self, sample: Sample) -> int:
        """Not asked for: each clip is encoded alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode each sound alone; less than one window is too short."""
        return [self._one(sample.sound) for sample in samples]

    def _one(self, sound: FloatArray | None) -> Encoded | Missing:
        fault = unusable(sound, self.params.n_fft)
        if fault is not None or sound is None:
            return fault or Missing(Reason.NO_AUDIO)
        frames = self._coefficients(sound)  # [T, n_mfcc]
        pooled = self._pool(frames)
        if not np.isfinite(pooled).all():
            return Missing(Reason.UNREADABLE, "coefficients that are not finite")
        return Encoded({"pooled": pooled, "frames": frames}, frames=len(frames))

    def _coefficients(self, sound: FloatArray) -> FloatArray:
        import librosa

        mfcc = librosa.feature.mfcc(
            y=sound,
            sr=self.params.rate,
            n_mfcc=self.params.n_mfcc,
            dct_type=2,
            norm="ortho",
            lifter=0,
            n_fft=self.params.n_fft,
            hop_length=self.params.hop,
            win_length=self.params.n_fft,
            window="hann",
            center=True,
            pad_mode="constant",
            power=2.0,
            n_mels=self.params.n_mels,
            fmin=0.0,
            fmax=self.params.rate / 2,
            htk=False,
        )
        return np.ascontiguousarray(mfcc.T, dtype=np.float32)

    def _pool(self, frames: FloatArray) -> FloatArray:
        import librosa

        parts = [frames]
        if self.params.deltas:
            # "nearest" and not "interp", which needs at least 9 frames
            parts.append(librosa.feature.delta(frames, width=9, order=1, axis=0, mode="nearest"))
        rows = [statistic for part in parts for statistic in (part.mean(axis=0), part.std(axis=0))]
        return np.concatenate(rows, dtype=np.float32)[None]
