"""Read from the media of a corpus what an image extractor is trained on: sounds, or images of scenes and faces.

The two classes look like encoders, so that the extraction engine can run them. So the media are read in one pass, and
an interrupted run can resume. They are not in the encoder registry, so params.yaml cannot name them.
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
    """Parameters of `SoundInput`: there are none."""


class SoundInput:
    """Keeps the first 20 s of an utterance's sound for training, at 16 kHz: the array `sound` with n samples, [n]."""

    spec: ClassVar[EncoderSpec] = _input_spec("pretrain/sound", "audio", "sound for a training")
    Params: ClassVar[type[BaseModel]] = SoundParams

    def __init__(self, params: SoundParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: SoundParams) -> Input:
        """Return the input that the training needs: the sound of each utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: SoundParams) -> tuple[ArraySpec, ...]:
        """Declare one array: `sound` [n], the n samples of the sound."""
        return (ArraySpec("sound", "sequence", ("sample",), ()),)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and no network runs here."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Return the sound of each utterance, cut after 20 s, or why there is none."""
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded | Missing:
        fault = why_unusable(sample.sound, 1)
        if fault is not None:
            return fault
        sound = cut_or_pad(np.asarray(sample.sound))
        return Encoded({"sound": sound}, frames=len(sound))


class PictureParams(Strict):
    """Parameters of `PictureInput`: number of pictures per utterance (`frames`), and side of an image in pixels."""

    frames: int
    side: int


class PictureInput:
    """Makes square images of an utterance for training: of its whole pictures (scenes), then of all faces in them.

    The array `images` [T, side, side, 3] holds the images of all T scenes and faces.
    """

    spec: ClassVar[EncoderSpec] = _input_spec(
        "pretrain/pictures", "visual", "scenes and faces for a training"
    )
    Params: ClassVar[type[BaseModel]] = PictureParams

    def __init__(self, params: PictureParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: PictureParams) -> Input:
        """Return the input that the training needs: pictures at equal distances in each clip, and the faces in them."""
        return Input(pictures=PictureRequest(params.frames), faces=True)

    @staticmethod
    def arrays(params: PictureParams) -> tuple[ArraySpec, ...]:
        """Declare one array: `images` [T, side, side, 3], the RGB images of all T scenes and faces of a clip."""
        shape = (params.side, params.side, 3)
        return (ArraySpec("images", "sequence", ("image", "row", "column", "rgb"), shape, "uint8", "1/255"),)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and no network runs here."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Return the images of scenes and faces of each clip, or why there are none: the clip has no picture."""
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Encoded | Missing:
        if not sample.frames:
            return Missing(Reason.NO_VIDEO)
        pictures = [frame.image for frame in sample.frames]
        pictures += [crop for frame in sample.frames for crop in face_crops(frame)[1]]
        squares = np.stack([resized(picture, self.params.side) for picture in pictures])
        return Encoded({"images": squares}, frames=len(sample.frames))
