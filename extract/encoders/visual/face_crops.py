"""Face crops as a feature, for fusion models that train their own picture network, such as AVT-CA.

Source: docs/papers/avtca.md, section 3.3.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.avtca_crops import SIDE, AvtcaPictures, avtca_crops, avtca_input
from extract.encoders.visual.cropping import FaceCrop
from extract.encoders.visual.picture_rows import encode_faces, face_arrays, face_values
from extract.media.mel_image import resized


class FaceCrops:
    """Keeps one face crop per picture of a clip, in order of time.

    Crops are stored as RGB bytes without loss, about 2.3 MB per utterance.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/face-crops",
        modality="visual",
        summary="faces as RGB bytes, for training end to end",
        batch="equal",
        version=1,
        licence="none: no weights",
        paper="AVT-CA",
    )
    Params: ClassVar[type[BaseModel]] = AvtcaPictures

    def __init__(self, params: AvtcaPictures, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: AvtcaPictures) -> Input:
        """Declare which input the encoder needs: pictures from the middle of the clip, and the faces in them."""
        return avtca_input(params)

    @staticmethod
    def arrays(params: AvtcaPictures) -> tuple[ArraySpec, ...]:
        """Declare three arrays with one row for each of a clip's T face crops: `crops`, `positions` and `boxes`.

        `crops` [T, 224, 224, 3] holds RGB bytes, `positions` [T, 1] the index of the crop's picture in the clip, and
        `boxes` [T, 4] the face box in pixels.
        """
        axes = ("frame", "height", "width", "red_green_blue")
        crops = ArraySpec("crops", "sequence", axes, (SIDE, SIDE, 3), "uint8", "grey levels")
        return (crops, *face_arrays())

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and no network runs here."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Crop one face from each picture of each clip.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_faces(samples, avtca_crops, self._cut)

    def _cut(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        for clip in clips:
            crops = np.stack([resized(crop.image, SIDE) for crop in clip])
            places = face_values([crop.position for crop in clip], [crop.box for crop in clip])
            yield Encoded({"crops": crops, **places}, len(clip))


ENTRY: Final[EncoderKind] = FaceCrops
