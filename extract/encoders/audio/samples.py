"""The sound itself (its samples) as a feature, for fusion models that contain a speech network and fine-tune it."""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import encode_singly
from extract.encoders.audio.voice_mel import RATE
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray

MIN_SAMPLES = 400  # samples of one frame of such a network


class SamplesParams(Strict):
    """Parameters of `audio/samples`.

    Attributes:
        max_seconds: a longer utterance is cut after this time.
    """

    max_seconds: float = Field(10, ge=0.1, le=120)


class Samples:
    """Stores the sound samples of an utterance unchanged, in the array `samples`; it computes no vector `pooled`."""

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/samples",
        modality="audio",
        summary="sound as samples, for training end to end",
        batch="one",
        version=1,
        licence="none: no weights",
        paper="Cues, arXiv 2408.04547",
    )
    Params: ClassVar[type[BaseModel]] = SamplesParams

    def __init__(self, params: SamplesParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: SamplesParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: SamplesParams) -> tuple[ArraySpec, ...]:
        """Declare one array: `samples` [T], the T sound samples of the utterance, with values from -1 to 1."""
        return (ArraySpec("samples", "sequence", ("sample",), ()),)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and no network runs here."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Return the array `samples` of each sound, or why there is none; a sound below 25 ms is too short."""
        return encode_singly(
            samples, MIN_SAMPLES, raw_samples, max_samples=round(self.params.max_seconds * RATE)
        )


def raw_samples(sound: FloatArray) -> Encoded:
    """Return the result for one sound: its values, unchanged, as the array `samples`."""
    return Encoded({"samples": sound.astype(np.float32)}, len(sound))


ENTRY: Final[EncoderKind] = Samples
