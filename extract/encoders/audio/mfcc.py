"""Mel-frequency cepstral coefficients (MFCC), computed with librosa. They describe the timbre of a sound."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.common import encode_singly, load_librosa, middle_of, why_unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray


class MfccParams(Strict):
    """Parameters of `audio/mfcc`.

    Attributes:
        n_mfcc: number of coefficients.
        rate: sampling rate of the sound, Hz.
        n_fft: length of an analysis window, samples.
        hop: step between analysis windows, samples.
        n_mels: number of mel bands, from 0 Hz to half the rate.
        deltas: whether `pooled` also contains mean and standard deviation of the deltas (changes of the coefficients
            over time). `frames` never contains deltas.
        pad_mode: how the first and last analysis windows are padded: with silence (`constant`) or with the
            mirrored sound (`reflect`).
        window_seconds: use only this many seconds in the middle of every clip (AVT-CA: 3.6 s); None for the whole clip.
        fill: True appends silence to a clip shorter than `window_seconds`, so that all clips have equally many frames;
            False leaves a short clip with fewer frames.
    """

    n_mfcc: int = Field(20, ge=1, le=128)
    rate: int = Field(22050, ge=4000)
    n_fft: int = Field(2048, ge=64)
    hop: int = Field(512, ge=1)
    n_mels: int = Field(128, ge=8)
    deltas: bool = True
    pad_mode: Literal["constant", "reflect"] = "constant"
    window_seconds: float | None = Field(None, gt=0)
    # Excluded if true, so that params (and keys) of features from before this option stay the same.
    fill: bool = Field(True, exclude_if=bool)

    @model_validator(mode="after")
    def _holds_a_window(self) -> "MfccParams":
        if self.window is not None and self.window < self.n_fft:
            raise ValueError(f"window_seconds: {self.window} samples are less than n_fft ({self.n_fft})")
        return self

    @property
    def window(self) -> int | None:
        """How many sound samples in the middle of every clip are used (param `window_seconds`); None for all."""
        return None if self.window_seconds is None else round(self.window_seconds * self.rate)


class Mfcc:
    """Computes MFCCs (`frames`), and their means and standard deviations over time (`pooled`).

    With the param `deltas`, `pooled` also contains the means and standard deviations of the changes over time. If the
    param `fill` appends silence to a short clip, `frames` covers this silence, but `pooled` does not. Levels more than
    80 dB below the loudest one of the clip are raised, so each clip is encoded alone.
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
        load_librosa()

    @staticmethod
    def input(params: MfccParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono, at the param `rate` (Hz)."""
        return Input(rate=params.rate)

    @staticmethod
    def arrays(params: MfccParams) -> tuple[ArraySpec, ...]:
        """Declare two arrays of an utterance: `frames` [T, n_mfcc] and `pooled` [1, 4 n_mfcc].

        `frames` holds `n_mfcc` coefficients for each of T steps of `hop` samples. `pooled` holds means and standard
        deviations of the coefficients and of their deltas; without deltas it is [1, 2 n_mfcc].
        """
        width = params.n_mfcc * (4 if params.deltas else 2)
        return (
            ArraySpec("pooled", "vector", ("utterance", "statistic"), (width,)),
            ArraySpec("frames", "sequence", ("frame", "coefficient"), (params.n_mfcc,)),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute the MFCCs of each sound alone; return its arrays, or why there are none.

        A sound with fewer samples than the param `n_fft` is too short.
        """
        return encode_singly(samples, self.params.n_fft, self._one)

    def _one(self, sound: FloatArray) -> Encoded | Missing:
        window = self.params.window
        part = sound if window is None else middle_of(sound, window)
        if (silence := why_unusable(part, 0)) is not None:
            return silence
        frames = self._coefficients(part)  # [T, n_mfcc]
        own = frames[: 1 + len(sound) // self.params.hop]  # without the silence after a short clip
        pooled = self._pool(own)
        if not np.isfinite(pooled).all():
            return Missing(Reason.FAULT, "the coefficients are not finite")
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
            # "nearest" instead of "interp", which needs at least 9 frames
            parts.append(librosa.feature.delta(frames, width=9, order=1, axis=0, mode="nearest"))
        rows = [statistic for part in parts for statistic in (part.mean(axis=0), part.std(axis=0))]
        return np.concatenate(rows, dtype=np.float32)[None]


ENTRY: Final[EncoderKind] = Mfcc
