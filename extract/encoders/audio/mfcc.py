"""Mel-frequency cepstral coefficients (librosa), the classic description of the sound's colour."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.common import centre, each_alone, unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray


class MfccParams(Strict):
    """Switches of `audio/mfcc`.

    Attributes:
        n_mfcc: coefficients.
        rate: of the sound, Hz.
        n_fft, hop: window and step, samples.
        n_mels: mel bands, from 0 Hz to half the rate.
        deltas: whether `pooled` also describes the change from frame to frame.
        pad_mode: what the first and last window see beyond the ends: silence, or the mirrored sound.
        window_seconds: describe the middle so many seconds of every clip (AVT-CA: 3.6 s); without it the whole clip.
        fill: silence after the end of a clip shorter than the window, so that all have the same number of frames;
            otherwise such a clip has fewer.
    """

    n_mfcc: int = Field(20, ge=1, le=128)
    rate: int = Field(22050, ge=4000)
    n_fft: int = Field(2048, ge=64)
    hop: int = Field(512, ge=1)
    n_mels: int = Field(128, ge=8)
    deltas: bool = True
    pad_mode: Literal["constant", "reflect"] = "constant"
    window_seconds: float | None = Field(None, gt=0)
    # Left out where it is true, so that features made before there was a choice stay what they are.
    fill: bool = Field(True, exclude_if=bool)

    @model_validator(mode="after")
    def _holds_a_window(self) -> "MfccParams":
        if self.window is not None and self.window < self.n_fft:
            raise ValueError(f"window_seconds: {self.window} samples are less than n_fft ({self.n_fft})")
        return self

    @property
    def window(self) -> int | None:
        """Samples described of every clip, or None for all of them."""
        return None if self.window_seconds is None else round(self.window_seconds * self.rate)


class Mfcc:
    """`frames` are the coefficients; `pooled` is their mean and deviation, then the same of their deltas.

    With `window_seconds` silence may follow a short clip in `frames`; `pooled` leaves those frames out. Decibels
    count from the loudest frame of the clip (top_db 80), so a clip is always encoded alone.
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
        """Encode each sound alone; less than `n_fft` samples are too short."""
        return each_alone(samples, self.params.n_fft, self._one)

    def _one(self, sound: FloatArray) -> Encoded | Missing:
        window = self.params.window
        part = sound if window is None else centre(sound, window)
        if (silence := unusable(part, 0)) is not None:
            return silence
        frames = self._coefficients(part)  # [T, n_mfcc]
        own = frames[: 1 + len(sound) // self.params.hop]  # not the silence behind a short clip
        pooled = self._pool(own)
        if not np.isfinite(pooled).all():
            return Missing(Reason.FAULT, "coefficients that are not finite")
        return Encoded({"pooled": pooled, "frames": frames if self.params.fill else own}, frames=len(own))

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
            pad_mode=self.params.pad_mode,
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


ENTRY: Final[EncoderKind] = Mfcc
