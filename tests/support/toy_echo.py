"""A toy text encoder with large outputs, and tiny corpora, for tests of packing and of freeing space in the store."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ercache.cache import ArraySpec
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams, FacePolicy, Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample
from extract.engine import Extraction, Feature, extract_corpus
from extract.media.types import PictureRequest

ENGINE = EngineParams(text_shard=4, batch=2, lanes=1)


class Echo:
    """Encoder that derives `rows` x 256 numbers from a text, and their mean. The text "nothing" has no feature."""

    class Params(Strict):
        rows: int = 4
        scale: float = 1.0

    spec: ClassVar = EncoderSpec("text/echo", "text", "numbers drawn from a text", "mask", 1, "MIT")

    def __init__(self, params: "Echo.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: "Echo.Params") -> Input:
        return Input(text=True)

    @staticmethod
    def arrays(params: "Echo.Params") -> tuple[ArraySpec, ...]:
        return (
            ArraySpec("pooled", "vector", ("utterance", "dim"), (256,)),
            ArraySpec("tokens", "sequence", ("token", "dim"), (256,)),
        )

    def length(self, sample: Sample) -> int:
        return len(sample.text or "")

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        return [self._one(sample.text or "") for sample in samples]

    def _one(self, text: str) -> Encoded | Missing:
        if text == "nothing":
            return Missing(Reason.NO_TEXT)
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        tokens = np.random.default_rng(seed).random((self.params.rows, 256), dtype="f4") * self.params.scale
        return Encoded({"pooled": tokens.mean(0, keepdims=True), "tokens": tokens}, len(tokens))


class Looks(Echo):
    """Encoder that needs faces. Tests plan it but never run it."""

    spec: ClassVar = replace(Echo.spec, key="visual/looks", modality="visual")

    @staticmethod
    def input(params: "Echo.Params") -> Input:
        return Input(pictures=PictureRequest(2), faces=True)


def echo(name: str = "echo", **params: Any) -> Feature:
    """A feature with the encoder `Echo`."""
    return Feature(name, Echo, Echo.Params(**params), None, None)


def looks() -> Feature:
    """A feature with the encoder `Looks`."""
    return Feature("looks", Looks, Looks.Params(), None, FacePolicy())


def corpus(*texts: str, name: str = "toy", video: bool = False) -> Manifest:
    """Make a manifest of a corpus with one dialogue of these texts, all in train."""
    refs = [
        MediaRef(f"{t}.mp4", sha256=hashlib.sha256(t.encode()).hexdigest()) if video else None for t in texts
    ]
    rows = tuple(
        Utterance(f"u{i}", "d", i, "Ann", t, ref, None, {"emotion7": "joy"}, "train")
        for i, (t, ref) in enumerate(zip(texts, refs, strict=True))
    )
    return Manifest(name, "1", {}, {"emotion7": ("joy",)}, rows)


def extract(folder: Path, manifest: Manifest, *features: Feature) -> Extraction:
    """Extract features into the store and caches in a folder of a test."""
    given = features or (echo(),)
    return extract_corpus(manifest, given, ENGINE, store=folder / "store", out=folder / "caches")
