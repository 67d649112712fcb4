"""eGeMAPS: 88 statistics of the voice in an utterance (pitch, loudness, spectrum ...), computed by openSMILE.

openSMILE is installed only on request, because its licence allows research only.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.common import encode_singly
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.media.types import FloatArray

RATE = 16_000
MIN_SAMPLES = RATE // 10  # 0.05 s would give only NaN
FUNCTIONALS, LOW_LEVEL = 88, 25
ABSENT = "opensmile is not installed (audEERING's licence, for research only): pip install 'ercache[egemaps]'"


class EgemapsParams(Strict):
    """Parameters of `audio/egemaps`.

    Attributes:
        frames: also keep the 25 values per 10 ms (low-level descriptors) from which the statistics are computed.
    """

    frames: bool = False


class Egemaps:
    """Computes the 88 statistics of eGeMAPSv02 for the voice in an utterance (the array `pooled`).

    If requested, it also keeps the 25 low-level descriptors (pitch, loudness ...) per 10 ms from which the statistics
    are computed (the array `frames`).

    Raises:
        WeightsError: opensmile is not installed.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/egemaps",
        modality="audio",
        summary="eGeMAPSv02 functionals (openSMILE)",
        batch="one",
        version=1,
        licence="audEERING research licence (no commercial use)",
        paper="Eyben et al. 2016",
        unavailable="" if importlib.util.find_spec("opensmile") else ABSENT,
        libraries=("opensmile",),
    )
    Params: ClassVar[type[BaseModel]] = EgemapsParams

    def __init__(self, params: EgemapsParams, device: str = "cpu", weights: Weights | None = None) -> None:
        if self.spec.unavailable:
            raise WeightsError(
                "audio/egemaps needs the optional package opensmile", hint=self.spec.unavailable
            )
        import opensmile

        self.params = params
        levels = [opensmile.FeatureLevel.Functionals]
        if params.frames:
            levels.append(opensmile.FeatureLevel.LowLevelDescriptors)
        self._extractors = [opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level) for level in levels]

    @staticmethod
    def input(params: EgemapsParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: EgemapsParams) -> tuple[ArraySpec, ...]:
        """Declare the arrays of an utterance: `pooled` [1, 88], its 88 statistics, and if requested `frames` [T, 25].

        `frames` has T rows, one per 10 ms, with 25 low-level descriptors each. The param `frames` requests it.
        """
        pooled = ArraySpec("pooled", "vector", ("utterance", "functional"), (FUNCTIONALS,))
        frames = ArraySpec("frames", "sequence", ("10ms", "low_level_value"), (LOW_LEVEL,))
        return (pooled, frames) if params.frames else (pooled,)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run openSMILE on each sound; return for each its eGeMAPS arrays, or why there are none."""
        return encode_singly(samples, MIN_SAMPLES, self._one)

    def _one(self, sound: FloatArray) -> Encoded | Missing:
        tables: list[Any] = [extractor.process_signal(sound, RATE) for extractor in self._extractors]
        arrays = dict(zip(("pooled", "frames"), (np.asarray(t, np.float32) for t in tables), strict=False))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return Missing(Reason.FAULT, "openSMILE's values are not finite")
        return Encoded(arrays, frames=len(tables[-1]))


ENTRY: Final[EncoderKind] = Egemaps
