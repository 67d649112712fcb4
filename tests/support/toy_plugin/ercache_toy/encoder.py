"""A toy encoder: how loud an utterance is."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample


class LoudnessParams(Strict):
    """The encoder has no switches."""


class Loudness:
    """Encoder that returns the root mean square and the peak of a sound."""

    Params: ClassVar[type[BaseModel]] = LoudnessParams
    spec: ClassVar[EncoderSpec] = EncoderSpec(
        "audio/toy-loudness", "audio", "loudness", "one", 1, "MIT", libraries=("ercache-toy",)
    )

    def __init__(self, params: LoudnessParams, device: str = "cpu", weights: Weights | None = None) -> None:
        pass

    @staticmethod
    def input(params: LoudnessParams) -> Input:
        """The encoder needs sound at 8 kHz."""
        return Input(rate=8000)

    @staticmethod
    def arrays(params: LoudnessParams) -> tuple[ArraySpec, ...]:
        """The encoder returns one array, `pooled` [1, 2]."""
        return (ArraySpec("pooled", "vector", ("utterance", "dim"), (2,)),)

    def length(self, sample: Sample) -> int:
        """Length for batching; not used, because each utterance is alone in its batch."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute root mean square and peak of each utterance."""
        return [self._encode(sample) for sample in samples]

    @staticmethod
    def _encode(sample: Sample) -> Encoded | Missing:
        if sample.sound is None or not len(sample.sound):
            return Missing(Reason.TOO_SHORT, "no sample")
        sound = sample.sound
        pooled = np.array([[np.sqrt(np.mean(sound**2)), np.abs(sound).max()]], np.float32)
        return Encoded({"pooled": pooled}, 1)


ENTRY: EncoderKind = Loudness
