"""The interface of an encoder: what it needs as input, what it returns, and what it guarantees."""

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
    """What an encoder needs as input. The engine decodes only this.

    Attributes:
        text: whether it needs the transcript.
        rate: sampling rate of the sound that it needs (mono float32 in [-1, 1]), Hz; None if it needs no sound.
        pictures: which pictures of the clip it needs; None if it needs no pictures.
        faces: whether it needs face detections on these pictures.
        video: whether it needs the reference to the video file, to find results of another program.
        speaker: whether it needs the speaker of the utterance and of each neighbour; `next` means that it also needs
            the speaker of the next utterance.
        past, future: from how many utterances before and after in the same dialogue it also needs text and sound;
            `WHOLE_DIALOGUE` for all. A feature with `future` above 0 cannot be used for prediction.
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
        """Whether the input depends on the utterance's place in the dialogue."""
        return bool(self.speaker or self.past or self.future)


@dataclass(frozen=True)
class Neighbour:
    """An utterance before or after the encoded one: text, sound and speaker, as far as needed and available."""

    text: str | None = None
    sound: FloatArray | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Sample:
    """What an encoder gets for one utterance; the encoder's `Input` decides which fields are filled.

    `before` and `after` are in the order of the dialogue.
    """

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
    """The arrays that an encoder computed for one utterance, and how many frames, tokens or windows it used.

    Each array has shape [T, ...]; T, the number of rows, may differ between arrays.
    """

    arrays: dict[str, NDArray[Any]]
    frames: int


@dataclass(frozen=True)
class EncoderSpec:
    """The fixed properties of an encoder.

    Attributes:
        key: modality and name as in params.yaml, for example `audio/mfcc`.
        modality: modality of the feature.
        summary: one line for the list of encoders.
        batch: how inputs form a batch: `mask` (padded, with attention mask), `equal` (inputs of one shape), `one` (each
            input alone).
        version: increased when a code change changes the output.
        licence: licence of network and weights.
        tolerance: largest allowed difference |a-b| / max(1, max|a|) between the output for an utterance alone and in a
            batch.
        weights: key of the default checkpoint in ercache's table of checkpoints; None without one. A param named
            `weights` chooses another checkpoint.
        paper: the paper that describes the encoder.
        unavailable: why the encoder cannot run; empty if it can.
        libraries: packages of this encoder alone whose versions are recorded with every feature.
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

    For each sample, `encode` returns its arrays or a `Missing` with the reason. It never replaces missing input by
    zeros. It never raises an exception because of a bad sample.
    """

    def length(self, sample: Sample) -> int:
        """Return the length of the network's input for a sample, from which batches are formed.

        With the batch rule `mask`, inputs are padded to the longest one; with `equal`, a batch has inputs of one
        length. The length is in tokens, in sound samples, or 0 if all inputs have one size.
        """

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        """Return for each sample of a batch, in order, the arrays (`Encoded`) or why there are none (`Missing`)."""


class EncoderKind(Protocol):
    """An entry of the encoder registry: a class of encoders, or an object that builds the encoders of a family."""

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's fixed properties, for example key, version, batch rule and licence (see `EncoderSpec`)."""

    @property
    def Params(self) -> type[BaseModel]:
        """The pydantic class of the encoder's params, which checks those in params.yaml."""

    def input(self, params: Any, /) -> Input:
        """Return which input (text, sound, pictures, faces, neighbours) the encoder needs with these params."""

    def arrays(self, params: Any, /) -> tuple[ArraySpec, ...]:
        """Return the names and shapes of the arrays that the encoder computes with these params."""

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build an encoder.

        Args:
            params: params of the encoder.
            device: torch device.
            weights: handle of the checkpoint; None for the default checkpoint, or for an encoder without one.

        Raises:
            WeightsError: the checkpoint is absent, damaged or belongs to another network.
        """


def missing_parts(kind: Any) -> list[str]:
    """Return sentences that say which attributes and methods an entry of the encoder registry lacks."""
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
            f"{kind.spec.key!r} is not a valid key; give a modality, a slash, and a name in lower case with dashes"
        )
    return found
