"""Toy encoders that return who said what around an utterance, for tests of dialogue context."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Neighbour, Sample
from extract.engine import Feature


class Reads:
    """Encoder that returns speakers and texts around an utterance, as bytes."""

    class Params(Strict):
        past: int = 1
        future: int = 1
        speaker: bool = True

    spec: ClassVar = EncoderSpec("text/reads", "text", "texts around", "one", 1, "MIT")

    def __init__(self, params: "Reads.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: "Reads.Params") -> Input:
        return Input(text=True, speaker=params.speaker, past=params.past, future=params.future)

    @staticmethod
    def arrays(params: "Reads.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("bytes", "sequence", ("byte", "one"), (1,), "uint8"),)

    def length(self, sample: Sample) -> int:
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded:
        own = Neighbour(sample.text, None, sample.speaker)
        told = "|".join(f"{t.speaker}:{t.text}" for t in (*sample.before, own, *sample.after))
        values = np.frombuffer(told.encode(), np.uint8)[:, None].copy()
        return Encoded({"bytes": values}, len(values))


class Hears:
    """Encoder that returns the lengths in samples of the sounds before an utterance and of its own; -1 if missing."""

    class Params(Strict):
        past: int = 2

    spec: ClassVar = EncoderSpec("audio/hears", "audio", "lengths of sounds", "one", 1, "MIT")

    def __init__(self, params: "Hears.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: "Hears.Params") -> Input:
        return Input(rate=8000, past=params.past)

    @staticmethod
    def arrays(params: "Hears.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("lengths", "sequence", ("turn", "one"), (1,), "int32", "samples"),)

    def length(self, sample: Sample) -> int:
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded:
        sounds = [*(turn.sound for turn in sample.before), sample.sound]
        lengths = np.array([[-1 if s is None else len(s)] for s in sounds], np.int32)
        return Encoded({"lengths": lengths}, len(lengths))


def reads(**params: object) -> Feature:
    return Feature("reads", Reads, Reads.Params(**params), None, None)  # type: ignore[arg-type]


def hears() -> Feature:
    return Feature("hears", Hears, Hears.Params(), None, None)
