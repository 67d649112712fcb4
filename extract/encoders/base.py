"""The interface of an encoder: what it needs, what it returns, and what it guarantees."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.manifest import MediaRef
from ercache.weights import Weights
from extract.media.types import FloatArray, Frame, PictureRequest

Modality = Literal["text", "audio", "visual"]


KEY_PATTERN: Final = re.compile(r"(text|audio|visual)/[a-z0-9]+(-[a-z0-9]+)*")
WHOLE_DIALOGUE: Final = 1_000_000  # number of neighbours that stands for the whole dialogue


@dataclass(frozen=True)
class Input:
    """What an encoder needs; the engine decodes only this.

    Attributes:
        text: the transcript.
        rate: sound as mono float32 in [-1, 1] at this rate, Hz.
        pictures: which pictures of the clip.
        faces: face detections on these pictures.
        video: the reference to the video, for encoders that read results made elsewhere.
        speaker: who speaks in the utterance and in each neighbour; `next` also gives the next speaker.
        past, future: number of utterances before and after in the same dialogue, of which the encoder also gets text
            and sound; `WHOLE_DIALOGUE` for all. A feature with a future cannot be used for prediction.
    """

    text: bool = False
    rate: int | None = None
    pictures: PictureRequest | None = None
    faces: bool = False
    video: bool = False
    speaker: bool | Literal["next"] = False
    past: int = 0
    future: int = 0

    @property
    def in_dialogue(self) -> bool:
        """Whether the input depends on the utterance's place in its dialogue."""
        return bool(self.speaker or self.past or self.future)


@dataclass(frozen=True)
class Neighbour:
    """A neighbour in the dialogue: text, sound and speaker if the encoder needs them and they exist."""

    text: str | None = None
    sound: FloatArray | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Sample:
    """Input of an encoder for one utterance, as its `Input` requires; neighbours are in the order of the dialogue."""

    text: str | None = None
    sound: FloatArray | None = None
    frames: tuple[Frame, ...] = ()
    speaker: str | None = None
    before: tuple[Neighbour, ...] = ()
    after: tuple[Neighbour, ...] = ()
    video: MediaRef | None = None
    next_speaker: str | None = None


@dataclass(frozen=True)
class Encoded:
    """Arrays of one utterance, each [T, ...] as declared, and the number of frames, tokens or windows behind them."""

    arrays: dict[str, NDArray[Any]]
    frames: int


@dataclass(frozen=True)
class EncoderSpec:
    """The fixed properties of an encoder.

    Attributes:
        key: modality and name, as in params.yaml.
        modality: modality of the feature.
        summary: one line for the list of encoders.
        batch: batch rule: `mask` (padded batches with attention mask), `equal` (inputs of one shape), `one` (singly).
        version: raised when the output changes.
        licence: licence of network and weights.
        tolerance: largest |a-b| / max(1, max|a|) between an utterance encoded alone and in a batch.
        weights: key in the table of checkpoints, or None; a param named `weights` chooses another checkpoint.
        paper: the paper that describes it.
        unavailable: why it cannot run anywhere yet; empty if it can.
        libraries: packages beside the common ones (`extract.engine.worker.LIBRARIES`) whose versions are recorded.
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
    libraries: tuple[str, ...] = ()


class Encoder(Protocol):
    """An encoder built with its params on a device; it turns samples into arrays.

    `encode` returns for each sample its arrays or a `Missing` with the reason. It never replaces missing input by
    zeros, and it never raises an exception for a bad sample.
    """

    def length(self, sample: Sample) -> int:
        """Return the length to which a batch is padded (`mask`) or that it must share (`equal`): tokens, samples, 0."""

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        """Return `Encoded` or `Missing` for each sample of one batch, in order."""


class EncoderKind(Protocol):
    """An entry of the registry: a class of encoders, or an object that builds the encoders of a family."""

    @property
    def spec(self) -> EncoderSpec:
        """The fixed properties."""

    @property
    def Params(self) -> type[BaseModel]:
        """The class of the params."""

    def input(self, params: Any, /) -> Input:
        """Return what the encoder needs."""

    def arrays(self, params: Any, /) -> tuple[ArraySpec, ...]:
        """Return the arrays that the encoder gives."""

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build an encoder.

        Args:
            params: its params.
            device: torch device.
            weights: handle of its checkpoint; None for encoders without one.

        Raises:
            WeightsError: the checkpoint is absent, damaged or belongs to another network.
        """


def missing_parts(kind: Any) -> list[str]:
    """Return, in words, what an entry of the registry lacks to be an `EncoderKind`."""
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
    if not KEY_PATTERN.fullmatch(kind.spec.key):
        found.append(
            f"{kind.spec.key!r} is no key: a modality, a slash, and a name in lower case with dashes"
        )
    return found
