"""A toy text encoder that has a checkpoint but no tokenizer."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample

KEY = "text/toy-net"


class ToyNet:
    """Encoder that passes letter counts through a linear layer."""

    class Params(Strict):
        pass

    spec: ClassVar = EncoderSpec(
        KEY, "text", "letters through a layer", "equal", 1, "MIT", weights="emoberta-base"
    )

    def __init__(self, params: "ToyNet.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        print("chatter of a library")
        assert weights is not None
        self._network = weights.network(lambda: torch.nn.Linear(26, 4))

    @staticmethod
    def input(params: "ToyNet.Params") -> Input:
        return Input(text=True)

    @staticmethod
    def arrays(params: "ToyNet.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("pooled", "vector", ("utterance", "dim"), (4,)),)

    def length(self, sample: Sample) -> int:
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        counts = [[float((s.text or "").count(chr(97 + n))) for n in range(26)] for s in samples]
        with torch.inference_mode():
            values = self._network(torch.tensor(counts)).numpy().astype(np.float32)
        return [Encoded({"pooled": row[None]}, 1) for row in values]
