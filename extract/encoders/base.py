"""What an encoder is: what it asks for, what it gives, and under which promises."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.manifest import MediaRef
from ercache.weights import Weights
from extract.media.types import FloatArray, Frame, Pictures

Modality = Literal["text", "audio", "visual"]


KEY: Final = re.compile(r"(text|audio|visual)/[a-z0-9]+(-[a-z0-9]+)*")
ALL: Final = 1_000_000  # neighbours: all of the dialogue


@dataclass(frozen=True)
class Input:
    """What an encoder asks for; the engine decodes just that.

    Attributes:
        text: the transcript.
        rate: sound as mono float32 in [-1, 1] at this rate, Hz.
        pictures: which pictures of the clip.
        faces: detections on these pictures.
        video: which stretch of which file the pictures are of, for what was made of it elsewhere.
        speaker: who says it, and who says each neighbour; `next` also tells who speaks next.
        past, future: utterances of the same dialogue before and after, of which the encoder gets text and sound
            too; `ALL` for the whole dialogue. A feature with a future is refused for prediction.
    """

    text: bool = False
    rate: int | None = None
    pictures: Pictures | None = None
    faces: bool = False
    video: bool = False
    speaker: bool | Literal["next"] = False
    past: int = 0
    future: int = 0

    @property
    def in_dialogue(self) -> bool:
        """Whether an utterance's place in its dialogue decides what the encoder gets."""
        return bool(self.speaker or self.past or self.future)


@dataclass(frozen=True)
class Turn:
    """A neighbour in the dialogue; text, sound and speaker as far as they are asked for and there."""

    text: str | None = None
    sound: FloatArray | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Sample:
    """What an encoder gets for one utterance, as its `Input` asks; neighbours in the order of the dialogue."""

    text: str | None = None
    sound: FloatArray | None = None
    frames: tuple[Frame, ...] = ()
    speaker: str | None = None
    before: tuple[Turn, ...] = ()
    after: tuple[Turn, ...] = ()
    video: MediaRef | None = None
    next_speaker: str | None = None


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
        weights: key in the table of checkpoints, or None; a param named `weights` chooses another.
        paper: where it comes from.
        unavailable: why it cannot run anywhere yet.
    """

    key: str
    modality: Modality
    summary: str
    batch: Literal["mask", "equal", "one"]
    version: int
    licence: str
    tolerance: float = 1e-5
    weights: str | None = None
    paper: str = ""
    unavailable: str = ""


class Encoder(Protocol):
    """An encoder at work, built with its params on a device: it turns samples into arrays.

    `encode` returns, for each sample, what it made or a `Missing` with its reason; it never pads with zeros and
    never raises for a bad sample.
    """

    def length(self, sample: Sample) -> int:
        """What inputs of one forward are padded to (`mask`) or must have in common (`equal`): tokens, samples, 0."""

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        """`Encoded` or `Missing` for each sample of one forward, in order."""


class EncoderKind(Protocol):
    """What stands in the registry: a class of encoders, or an object that builds those of a family."""

    @property
    def spec(self) -> EncoderSpec:
        """The fixed facts."""

    @property
    def Params(self) -> type[BaseModel]:
        """The class of its params."""

    def input(self, params: Any, /) -> Input:
        """What it asks for."""

    def arrays(self, params: Any, /) -> tuple[ArraySpec, ...]:
        """What it gives."""

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build one; `weights` is the handle of its checkpoint, None for encoders without.

        Raises:
            WeightsError: the checkpoint is absent, damaged or another network's.
        """


def faults_of(kind: Any) -> list[str]:
    """What an entry of the registry lacks of an `EncoderKind`, in words."""
    if not isinstance(getattr(kind, "spec", None), EncoderSpec):
        return [f"{kind!r} has no `spec` of class EncoderSpec"]
    found = [
        f"{kind.spec.key} has no method `{name}`"
        for name in ("input", "arrays", "__call__")
        if not callable(getattr(kind, name, None))
    ]
    params = getattr(kind, "Params", None)
    if not (isinstance(params, type) and issubclass(params, BaseModel)):
        found.append(f"{kind.spec.key} has no class `Params` of pydantic's BaseModel")
    if not KEY.fullmatch(kind.spec.key):
        found.append(
            f"{kind.spec.key!r} is no key: a modality, a slash, and a name in lower case with dashes"
        )
    return found
