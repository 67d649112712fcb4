"""Pitch and mel bands of a sound over time: the input of the prosody encoder in the paper Cues.

The fusion model trains that encoder; only its input is computed here, in the same way as by the encoder's authors.

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
    """Computes a pitch class (0 to 256) and the levels of 80 mel bands for every 16 ms of an utterance.

    They are the arrays `classes` and `bands`; `pooled` is the mean of `bands` over time. Pitch classes are relative to
    the mean pitch of the utterance, so each utterance is encoded alone.
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
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: PitchMelParams) -> tuple[ArraySpec, ...]:
        """Declare three arrays of an utterance: `classes` [T], `bands` [T, 80] and `pooled` [1, 80]; a step is 16 ms.

        `classes` holds the pitch class of each of T steps: 0 without voice, else 1 (low) to 256 (high). `bands` holds
        levels from 0 to 1 of 80 mel bands, low frequencies first. `pooled` is the mean of `bands` over time.
        """
        return (
            ArraySpec("pooled", "vector", ("utterance", "band"), (BANDS,)),
            ArraySpec("classes", "sequence", ("frame",), (), "int32"),
            ArraySpec("bands", "sequence", ("frame", "band"), (BANDS,)),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute pitch classes and mel bands of each sound alone; return its arrays, or why there are none.

        A sound below 0.1 s is too short.
        """
        return encode_singly(
            samples, MIN_SAMPLES, pitch_and_bands, max_samples=round(self.params.max_seconds * RATE)
        )


def pitch_and_bands(sound: FloatArray) -> Encoded:
    """Return the three arrays of a sound: pitch classes (`classes`), mel bands (`bands`) and their mean (`pooled`)."""
    bands = np.ascontiguousarray(mel_levels(sound).T)
    classes = pitch_classes(pitches(sound))
    return Encoded({"pooled": bands.mean(0, keepdims=True), "classes": classes, "bands": bands}, len(bands))


def pitches(sound: FloatArray) -> NDArray[np.float64]:
    """Return the pitch of a sound with n samples, in Hz, one value per 256 samples, [n // 256 + 1].

    The value is NaN where there is no voice, as in pauses.
    """
    import librosa

    found, _, _ = librosa.pyin(sound, fmin=LOWEST, fmax=HIGHEST, sr=RATE, frame_length=WINDOW, hop_length=HOP)
    return np.asarray(found, np.float64)


def pitch_classes(hertz: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert the pitch of each frame from Hz to a class: 0 without voice, else 1 to 256.

    Classes 1 to 256 divide the logarithm of the pitch equally, from 4 standard deviations below its mean in the
    utterance to 4 above. If all frames with voice have the same pitch, they get the middle class.
    """
    voiced = np.isfinite(hertz)
    logarithms = np.log(hertz[voiced])
    spread = logarithms.std() if len(logarithms) else 0.0
    z = (logarithms - logarithms.mean()) / spread if spread > 1e-9 else np.zeros(len(logarithms))
    classes = np.zeros(len(hertz), np.int32)
    classes[voiced] = np.round(STEPS * (np.clip(z / 4, -1, 1) + 1) / 2).astype(np.int32) + 1
    return classes


ENTRY: Final[EncoderKind] = PitchMel
