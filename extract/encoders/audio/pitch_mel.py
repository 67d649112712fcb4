"""Pitch classes and mel bands: the input of the prosody encoder of Cues, as the authors of that encoder compute them.

Source: docs/papers/cues.md, section 4.3.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import encode_singly, load_librosa
from extract.encoders.audio.voice_mel import BANDS, HOP, RATE, WINDOW, mel_levels
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray

LOWEST, HIGHEST = 50.0, 600.0  # pitch range of a voice, Hz
MIN_SAMPLES: Final = 1_600  # samples of an utterance: 0.1 s
STEPS: Final = 255  # number of voiced pitch classes less one; class 0 means no voice


class PitchMelParams(Strict):
    """Parameters of `audio/pitch-mel`.

    Attributes:
        max_seconds: a longer utterance is cut after this time.
    """

    max_seconds: float = Field(10, ge=0.1, le=120)


class PitchMel:
    """Computes a pitch class (`classes`) and 80 mel bands (`bands`) for every 16 ms of an utterance.

    `pooled` is the mean of the bands. Pitch is relative to the mean pitch of the utterance, so an utterance is always
    encoded alone.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/pitch-mel",
        modality="audio",
        summary="pitch in 256 steps of the utterance's own range, and 80 mel bands (librosa)",
        batch="one",
        version=1,
        licence="ISC",
        paper="Cues, arXiv 2408.04547",
    )
    Params: ClassVar[type[BaseModel]] = PitchMelParams

    def __init__(self, params: PitchMelParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params
        load_librosa()

    @staticmethod
    def input(params: PitchMelParams) -> Input:
        """Return the input that the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: PitchMelParams) -> tuple[ArraySpec, ...]:
        """Declare three arrays: `pooled` [1, 80], `classes` [T] and `bands` [T, 80], for T steps of 16 ms.

        `classes` holds pitch classes: 0 without voice, else 1 to 256. `bands` holds the levels of 80 mel bands from 0
        to 1, low frequencies first. `pooled` is the mean of `bands` over time.
        """
        return (
            ArraySpec("pooled", "vector", ("utterance", "band"), (BANDS,)),
            ArraySpec("classes", "sequence", ("frame",), (), "int32"),
            ArraySpec("bands", "sequence", ("frame", "band"), (BANDS,)),
        )

    def length(self, sample: Sample) -> int:
        """Return 0. A length is needed only to form batches, and every clip is encoded alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute pitch classes and mel bands of each sound alone. A sound below 0.1 s is too short and has none."""
        return encode_singly(
            samples, MIN_SAMPLES, pitch_and_bands, max_samples=round(self.params.max_seconds * RATE)
        )


def pitch_and_bands(sound: FloatArray) -> Encoded:
    """Return the arrays of a sound: pitch classes (`classes`), mel bands (`bands`), mean of the bands (`pooled`)."""
    bands = np.ascontiguousarray(mel_levels(sound).T)
    classes = pitch_classes(pitches(sound))
    return Encoded({"pooled": bands.mean(0, keepdims=True), "classes": classes, "bands": bands}, len(bands))


def pitches(sound: FloatArray) -> NDArray[np.float64]:
    """Return the pitch of each frame of a sound with n samples, in Hz, NaN where there is no voice, [n // 256 + 1]."""
    import librosa

    found, _, _ = librosa.pyin(sound, fmin=LOWEST, fmax=HIGHEST, sr=RATE, frame_length=WINDOW, hop_length=HOP)
    return np.asarray(found, np.float64)


def pitch_classes(hertz: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert the pitch of each frame from Hz to a class: 0 without voice, else 1 to 256.

    Classes 1 to 256 divide the range from -4 to 4 standard deviations around the mean of the log pitch. If all voiced
    frames have the same pitch, they get the middle class.
    """
    voiced = np.isfinite(hertz)
    logarithms = np.log(hertz[voiced])
    spread = logarithms.std() if len(logarithms) else 0.0
    z = (logarithms - logarithms.mean()) / spread if spread > 1e-9 else np.zeros(len(logarithms))
    classes = np.zeros(len(hertz), np.int32)
    classes[voiced] = np.round(STEPS * (np.clip(z / 4, -1, 1) + 1) / 2).astype(np.int32) + 1
    return classes


ENTRY: Final[EncoderKind] = PitchMel
