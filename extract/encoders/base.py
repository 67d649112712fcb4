"""What an encoder is: what it asks for, what it gives, and under which promises."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ercache.cache import ArraySpec

Modality = Literal["text", "audio", "visual"]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Faces:
    """Detections of one frame, by falling probability: a row of the detection table.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels, [n, 4].
        probabilities: [n].
        points: eyes, nose, mouth corners (x, y), [n, 5, 2].
    """

    boxes: FloatArray
    probabilities: FloatArray
    points: FloatArray


@dataclass(frozen=True)
class Frame:
    """A picture: seconds from the start of the file, RGB uint8 [height, width, 3], and its faces if asked for."""

    time: float
    image: NDArray[np.uint8]
    faces: Faces | None = None


@dataclass(frozen=True)
class Pictures:
    """Which pictures of a clip, and of which size: by number or by step, whichever is given.

    Attributes:
        count: at the centres of that many equal stretches of the clip; fewer when the clip has fewer.
        every: at the centres of stretches of so many seconds.
        side: length of the shorter side, pixels, as the decoder scales it; None for the pictures' own size.
    """

    count: int | None = None
    every: float | None = None
    side: int | None = None


@dataclass(frozen=True)
class Input:
    """What an encoder asks for; the engine decodes just that.

    Attributes:
        text: the transcript.
        rate: sound as mono float32 in [-1, 1] at this rate, Hz.
        frames: pictures at the centres of that many equal stretches of the clip (fewer when the clip has fewer).
        side: length of the pictures' shorter side, pixels, as the decoder scales them; None for their own size.
        faces: detections on these pictures.
    """

    text: bool = False
    rate: int | None = None
    frames: int | None = None
    side: int | None = None
    faces: bool = False

    @property
    def pictures(self) -> Pictures | None:
        """The pictures that are asked for, if any."""
        return Pictures(self.frames, side=self.side) if self.frames else None


@dataclass(frozen=True)
class Sample:
    """What an encoder gets for one utterance, as its `Input` asks."""

    text: str | None = None
    sound: FloatArray | None = None
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """Arrays of one utterance, each [T, ...] as declared, and how many frames, tokens or windows they rest on."""

    arrays: dict[str, NDArray[Any]]
    frames: int


@dataclass(frozen=True)
class EncoderSpec:
    """The fixed facts of an encoder.

    Attributes:
        batch: `mask` (padded batches with attention mask), `equal` (only inputs of one shape), `one` (alone).
        version: raised when the output changes.
        tolerance: largest |a-b| / max(1, max|a|) between an utterance alone and in a batch.
        weights: key in the table of checkpoints, or None.
        context: utterances before and after that the feature sees.
    """

    key: str
    modality: Modality
    summary: str
    batch: Literal["mask", "equal", "one"]
    version: int
    licence: str
    tolerance: float = 1e-5
    weights: str | None = None
    context: dict[str, int] = field(default_factory=lambda: {"past": 0, "future": 0})


class Encoder(Protocol):
    """An encoder class: built with its params and a torch device, it turns samples into arrays.

    `encode` returns, for each sample, what it made or a `Missing` with its reason; it never pads with zeros and
    never raises for a bad sample.
    """

    spec: ClassVar[EncoderSpec]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any, device: str = "cpu") -> None: ...

    @staticmethod
    def input(params: Any) -> Input:
        """What it asks for."""

    @staticmethod
    def arrays(params: Any) -> tuple[ArraySpec, ...]:
        """What it gives."""

    def length(self, sample: Sample) -> int:
        """What inputs of one forward are padded to (`mask`) or must have in common (`equal`): tokens, samples, 0."""

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        """`Encoded` or `Missing` for each sample of one forward, in order."""
