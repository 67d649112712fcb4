"""The background feature of the paper AMuSE: what the pictures of a clip show besides faces.

Source: docs/papers/amuse.md, section 3.2.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.imagenet import RESNET50, PictureParams
from extract.encoders.visual.picture_rows import row_arrays
from extract.media.types import Frame, PictureRequest

GREY: Final = (124, 116, 104)  # ImageNet's mean in bytes


class BackParams(Strict):
    """Parameters of `visual/back-resnet50`.

    Attributes:
        frames: number of keyframes per clip; a clip with fewer keyframes gives other pictures instead.
    """

    frames: int = Field(8, ge=1)


class BackResNet50:
    """Encodes the background of a clip's keyframes with a ResNet50, after painting all faces over.

    The colour of the paint is the mean colour of ImageNet's pictures.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/back-resnet50",
        modality="visual",
        summary="ResNet50 on keyframes without the faces",
        batch="equal",
        version=1,
        licence="BSD-3-Clause",
        weights="resnet50",
        paper="AMuSE",
    )
    Params: ClassVar[type[BaseModel]] = BackParams

    def __init__(self, params: BackParams, device: str = "cpu", weights: Weights | None = None) -> None:
        whole = PictureParams(frames=params.frames, centre_crop=False)
        self._encoder = RESNET50(whole, device, weights)

    @staticmethod
    def input(params: BackParams) -> Input:
        """Declare which input the encoder needs: keyframes of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames, rule="keys"), faces=True)

    @staticmethod
    def arrays(params: BackParams) -> tuple[ArraySpec, ...]:
        """Declare two arrays of a clip: `frames` [T, 2048], a vector for each of T keyframes, and their mean.

        The mean is `pooled` [1, 2048].
        """
        return row_arrays(RESNET50.width, sequence=True, faces=False)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all inputs have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the keyframes of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return self._encoder.encode([Sample(frames=tuple(map(fill_faces, s.frames))) for s in samples])


def fill_faces(frame: Frame) -> Frame:
    """Return a copy of a picture in which all detected face boxes are filled with the mean colour of ImageNet."""
    image = frame.image.copy()
    for box in () if frame.faces is None else frame.faces.boxes:
        x0, y0 = np.maximum(np.floor(box[:2]), 0).astype(int)
        x1, y1 = np.maximum(np.ceil(box[2:]), 0).astype(int)
        image[y0:y1, x0:x1] = GREY
    return Frame(frame.time, image)


ENTRY: Final[EncoderKind] = BackResNet50
