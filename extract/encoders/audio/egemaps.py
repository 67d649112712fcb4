"""eGeMAPS: 88 statistics of the voice, computed by openSMILE.

openSMILE is an optional dependency because of its licence.
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
        frames: also keep the 25 low-level descriptors, one row per 10 ms.
    """

    frames: bool = False


class Egemaps:
    """Computes the 88 functionals of eGeMAPSv02 (`pooled`) and the low-level descriptors behind them (`frames`).

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
            raise WeightsError("audio/egemaps cannot run here", hint=self.spec.unavailable)
        import opensmile

        self.params = params
        levels = [opensmile.FeatureLevel.Functionals]
        if params.frames:
            levels.append(opensmile.FeatureLevel.LowLevelDescriptors)
        self._extractors = [opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level) for level in levels]

    @staticmethod
    def input(params: EgemapsParams) -> Input:
        """Return the input that the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: EgemapsParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, 88], the 88 functionals; with the param `frames` also `frames` [T, 25].

        `frames` has T rows, one per 10 ms, with the 25 low-level descriptors.
        """
        pooled = ArraySpec("pooled", "vector", ("utterance", "functional"), (FUNCTIONALS,))
        frames = ArraySpec("frames", "sequence", ("10ms", "low_level_value"), (LOW_LEVEL,))
        return (pooled, frames) if params.frames else (pooled,)

    def length(self, sample: Sample) -> int:
        """Return 0. A length is needed only to form batches, and every clip is encoded alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute the eGeMAPS values of each sound with openSMILE, or say why a sound has none."""
        return encode_singly(samples, MIN_SAMPLES, self._one)

    def _one(self, sound: FloatArray) -> Encoded | Missing:
        tables: list[Any] = [extractor.process_signal(sound, RATE) for extractor in self._extractors]
        arrays = dict(zip(("pooled", "frames"), (np.asarray(t, np.float32) for t in tables), strict=False))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return Missing(Reason.FAULT, "openSMILE's values are not finite")
        return Encoded(arrays, frames=len(tables[-1]))


ENTRY: Final[EncoderKind] = Egemaps
