"""A toy picture encoder, and a reader that makes large pictures without any file, for tests of notes and memory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample
from extract.engine import Feature
from extract.media import Clip
from extract.media.scanned import ReadRequest
from extract.media.types import Frame, PictureRequest
from tests.support.memory import peak

HEIGHT, WIDTH = 1080, 1920


BEFORE = peak()  # a lane imports this before it reads anything


class Views:
    """Encoder that projects the pictures of a clip. It writes its process's peak memory, in MB, to the file `taken`."""

    class Params(Strict):
        folder: str
        frames: int = 6

    spec: ClassVar = EncoderSpec("visual/views", "visual", "projected pictures", "equal", 1, "MIT")

    def __init__(self, params: "Views.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        self._told = Path(params.folder) / "taken"
        self._matrix = np.random.default_rng(0).normal(size=(96, 64)).astype(np.float32)

    @staticmethod
    def input(params: "Views.Params") -> Input:
        return Input(pictures=PictureRequest(params.frames))

    @staticmethod
    def arrays(params: "Views.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("pooled", "vector", ("utterance", "dim"), (64,)),)

    def length(self, sample: Sample) -> int:
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        rows = (
            np.stack([self._row(sample) for sample in samples]) @ self._matrix
        )  # in other sums for other batches
        self._told.write_text(str((peak() - BEFORE) / 1e6))
        return [Encoded({"pooled": row[None]}, len(s.frames)) for row, s in zip(rows, samples, strict=True)]

    @staticmethod
    def _row(sample: Sample) -> np.ndarray:
        corners = [frame.image[:8, :4].reshape(96) for frame in sample.frames]
        return np.mean(np.asarray(corners, np.float32) / 255, axis=0)


def views(folder: Path, frames: int = 6) -> Feature:
    """A feature with the encoder `Views`."""
    return Feature("views", Views, Views.Params(folder=str(folder), frames=frames), None, None)


def read_large(request: ReadRequest, tick: Callable[[], None]) -> Iterator[tuple[int, Clip]]:
    """Replacement for `read_scanned` without any media: as many 1080p pictures as requested, and a second of sound."""
    for number, stretch in enumerate(request.spans):
        rng = np.random.default_rng(int(stretch.ref.start or 0))
        pictures = {}
        for kind in stretch.pictures:
            image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
            image[:] = rng.integers(0, 256, (1, WIDTH, 3))
            pictures[kind] = tuple(Frame(float(n), image.copy()) for n in range(kind.count or 0))
        yield number, Clip(pictures, {rate: np.ones(rate, "f4") for rate in stretch.rates})
