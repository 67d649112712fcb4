"""FaceNet: a vector that says whose face a picture shows (docs/encoders.md#faces).

Take care: with this feature, a model may learn who speaks instead of which emotion is shown.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.cropping import FaceCrop, Image, crop_truncated, largest_faces
from extract.encoders.visual.picture_rows import (
    Statistics,
    build_encoded,
    encode_faces,
    row_arrays,
    run_network,
    to_tensor,
)
from extract.media.mel_image import resized
from extract.media.types import PictureRequest

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE: Final = 160
WIDTH: Final = 512
CENTRED: Final[Statistics] = ((0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255))  # (x - 127.5) / 128


class FacenetParams(Strict):
    """Parameters of `visual/facenet`.

    Attributes:
        frames: largest number of pictures per clip, at equal distances.
        every: seconds between pictures; None takes `frames` pictures from every clip, however long it is.
        sequence: also keep a vector per picture, not only their mean.
    """

    frames: int = Field(8, ge=1)
    every: float | None = Field(None, gt=0)
    sequence: bool = True


class Facenet:
    """Encodes the largest face of each picture with FaceNet, which gives vectors of Euclidean length 1.

    Faces are cropped as the package facenet-pytorch does.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/facenet",
        modality="visual",
        summary="identity of the face (InceptionResnetV1, VGGFace2)",
        batch="equal",
        version=1,
        licence="MIT",
        weights="facenet",
        paper="Schroff et al. 2015, arXiv 1503.03832",
    )
    Params: ClassVar[type[BaseModel]] = FacenetParams

    def __init__(self, params: FacenetParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params, self.device = params, device
        handle = weights or Weights("facenet")
        self._network = handle.network(build, drop=("logits.",)).to(device)

    @staticmethod
    def input(params: FacenetParams) -> Input:
        """Declare which input the encoder needs: pictures of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames, params.every), faces=True)

    @staticmethod
    def arrays(params: FacenetParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, 512], the mean over the faces of a clip; with the param `sequence` three more arrays.

        These have one row for each of T faces: `frames` [T, 512] (the vectors), `positions` [T, 1] (index of the
        picture in the clip) and `boxes` [T, 4] (face box in pixels).
        """
        return row_arrays(WIDTH, params.sequence, faces=True)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all face crops have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the faces of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_faces(samples, lambda sample: largest_faces(sample, crop_truncated), self._forward)

    def _forward(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        images = [[crop.image for crop in clip] for clip in clips]
        for clip, rows in zip(
            clips, run_network(self._network, images, prepare_crop, self.device), strict=True
        ):
            boxes = [crop.box for crop in clip]
            yield build_encoded(rows, self.params.sequence, [crop.position for crop in clip], boxes)


def build() -> "nn.Module":
    """Build FaceNet (an InceptionResnetV1) without its classification layer; 23,482,624 parameters remain."""
    from facenet_pytorch import InceptionResnetV1

    network: nn.Module = InceptionResnetV1(pretrained=None)
    return network


def prepare_crop(crop: Image) -> "Tensor":
    """Turn a face crop into FaceNet's input [3, 160, 160], with values from about -1 to 1."""
    return to_tensor(resized(crop, SIDE), CENTRED)


ENTRY: Final[EncoderKind] = Facenet
