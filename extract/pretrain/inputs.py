"""Inputs of a training that the engine extracts from the media: sounds, or squares of scenes and faces.

They are encoders outside the registry, so they are read in one pass, are resumable, and are kept in the store.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.common import why_unusable
from extract.encoders.base import Encoded, EncoderSpec, Input, Modality, Sample
from extract.encoders.visual.m2fnet_dual import face_crops
from extract.media.mel_image import RATE, cut_or_pad, resized
from extract.media.types import PictureRequest


def _input_spec(key: str, modality: Modality, summary: str) -> EncoderSpec:
    return EncoderSpec(key, modality, summary, "one", 1, "that of the corpus")


class SoundParams(Strict):
    """The sound is cut and padded as for the mel image; there are no parameters."""


class SoundInput:
    """`sound`: the first 20 s at 16 kHz, [n]."""

    spec: ClassVar[EncoderSpec] = _input_spec("pretrain/sound", "audio", "sound for a training")
    Params: ClassVar[type[BaseModel]] = SoundParams

    def __init__(self, params: SoundParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: SoundParams) -> Input:
        """Sound at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: SoundParams) -> tuple[ArraySpec, ...]:
        """`sound` [n]."""
        return (ArraySpec("sound", "sequence", ("sample",), ()),)

    def length(self, sample: Sample) -> int:
        """Unused."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Return each sound unchanged."""
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded | Missing:
        fault = why_unusable(sample.sound, 1)
        if fault is not None:
            return fault
        sound = cut_or_pad(np.asarray(sample.sound))
        return Encoded({"sound": sound}, frames=len(sound))


class PictureParams(Strict):
    """Parameters of `PictureInput`: number of pictures of an utterance, and side of the squares in pixels."""

    frames: int
    side: int


class PictureInput:
    """`images`: the scenes of all pictures, then all their faces, [T, side, side, 3]."""

    spec: ClassVar[EncoderSpec] = _input_spec(
        "pretrain/pictures", "visual", "scenes and faces for a training"
    )
    Params: ClassVar[type[BaseModel]] = PictureParams

    def __init__(self, params: PictureParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: PictureParams) -> Input:
        """Pictures spread over the clip, with their faces."""
        return Input(pictures=PictureRequest(params.frames), faces=True)

    @staticmethod
    def arrays(params: PictureParams) -> tuple[ArraySpec, ...]:
        """`images`."""
        shape = (params.side, params.side, 3)
        return (ArraySpec("images", "sequence", ("image", "row", "column", "rgb"), shape, "uint8", "1/255"),)

    def length(self, sample: Sample) -> int:
        """Unused."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode each clip alone."""
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded | Missing:
        if not sample.frames:
            return Missing(Reason.NO_VIDEO)
        pictures = [frame.image for frame in sample.frames]
        pictures += [crop for frame in sample.frames for crop in face_crops(frame)[1]]
        squares = np.stack([resized(picture, self.params.side) for picture in pictures])
        return Encoded({"images": squares}, frames=len(sample.frames))
