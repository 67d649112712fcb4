"""The interface of every encoder: which input it needs, which arrays it returns, and which rules it keeps."""

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
    """Which input an encoder needs; the extraction engine decodes nothing else from text, sound and video.

    Attributes:
        text: whether it needs the transcript.
        rate: sampling rate of the sound that it needs (mono float32 in [-1, 1]), Hz; None if it needs no sound.
        pictures: which pictures of the clip it needs; None if it needs no pictures.
        faces: whether it needs face detections on these pictures.
        video: whether it needs the path of the video file (not its content), to find a table of another program.
        speaker: whether it needs the speaker of the utterance and of its neighbours; `next` means that it also needs
            the speaker of the next utterance.
        past, future: number of earlier and of later utterances of the dialogue whose text and sound it also needs;
            `WHOLE_DIALOGUE` for all. With `future` above 0, the feature cannot serve to predict the next emotion.
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
        """Whether an encoder needs a speaker or neighbours, so that its input depends on the place in the dialogue."""
        return bool(self.speaker or self.past or self.future)


@dataclass(frozen=True)
class Neighbour:
    """An earlier or later utterance of the same dialogue; text, sound or speaker is None if not needed or absent."""

    text: str | None = None
    sound: FloatArray | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Sample:
    """The input of an encoder for one utterance: text, sound, pictures, speaker and neighbours.

    Only the fields that the encoder's `Input` asks for are filled. `frames` holds the pictures of the clip. `before`
    and `after` hold the earlier and the later utterances, in the order of the dialogue.
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
    """The output of an encoder for one utterance.

    `arrays` maps names to arrays [T, ...], whose number of rows T may differ. `frames` says from how many pictures,
    sound frames, tokens or windows they were computed.
    """

    arrays: dict[str, NDArray[Any]]
    frames: int


@dataclass(frozen=True)
class EncoderSpec:
    """The properties of an encoder that do not depend on its params.

    Attributes:
        key: modality and name as in params.yaml, for example `audio/mfcc`.
        modality: modality of the feature.
        summary: one line that describes the encoder in the list of encoders.
        batch: how inputs form a batch: `mask` (padded, with attention mask), `equal` (only inputs of the same length),
            `one` (each input alone).
        version: number that a developer increases when the encoder's output changes.
        licence: licence of network and weights.
        tolerance: largest allowed difference |a-b| / max(1, max|a|) between the output `a` for an utterance alone and
            its output `b` in a batch.
        weights: name of the checkpoint that is used if no param chooses another; None for an encoder without one.
        paper: the paper that describes the encoder.
        unavailable: why the encoder cannot run; empty if it can.
        libraries: Python packages that only this encoder uses; every feature records their versions.
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
    """An encoder that is ready to run: built with its params, on a device.

    For each utterance, `encode` returns arrays, or a `Missing` that says why there are none. A missing input is never
    replaced by zeros, and a bad input never raises an exception.
    """

    def length(self, sample: Sample) -> int:
        """Return how long the network's input for an utterance is, so that similar utterances share a batch.

        The length is a number of tokens or of sound samples; it is 0 if all inputs have the same size. With the batch
        rule `mask`, inputs are padded to the longest one; with `equal`, all inputs of a batch have the same length.
        """

    def encode(self, samples: Sequence[Sample]) -> list[Any]:
        """Return for each utterance of a batch, in order, its arrays (`Encoded`) or why there are none (`Missing`)."""


class EncoderKind(Protocol):
    """An entry of the encoder registry: it describes an encoder and, when called, builds it.

    The entry is a class, or an object if several encoders share a class (such as RoBERTa base and large).
    """

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's fixed properties, for example key, version, batch rule and licence (see `EncoderSpec`)."""

    @property
    def Params(self) -> type[BaseModel]:
        """The pydantic class of the encoder's params, which checks those in params.yaml."""

    def input(self, params: Any, /) -> Input:
        """Return which input the encoder needs with these params: text, sound, pictures, faces or neighbours."""

    def arrays(self, params: Any, /) -> tuple[ArraySpec, ...]:
        """Return the names and shapes of the arrays that the encoder computes with these params."""

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build the encoder: load its network, if it has one, and put it on a device.

        Args:
            params: params of the encoder, as in params.yaml.
            device: torch device, such as `cpu` or `cuda`.
            weights: the checkpoint to load; None loads the one that params or `spec` name, if any.

        Raises:
            WeightsError: the checkpoint is absent, damaged or belongs to another network.
        """


def missing_parts(kind: Any) -> list[str]:
    """Check an entry of the encoder registry; return one sentence for each attribute or method that is not usable."""
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
