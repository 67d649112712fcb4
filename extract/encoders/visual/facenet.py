"""FaceNet: who a face is (docs/encoders.md#faces). It can learn who speaks instead of what is felt."""

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
        frames: largest number of pictures of a clip, spread over it.
        every: seconds between them; None takes `frames` pictures of every clip.
        sequence: also keep the row of every picture, not only their mean.
    """

    frames: int = Field(8, ge=1)
    every: float | None = Field(None, gt=0)
    sequence: bool = True


class Facenet:
    """The largest face of each picture, cropped as facenet-pytorch does with PIL pictures; rows have norm 1."""

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
        """Pictures with their faces."""
        return Input(pictures=PictureRequest(params.frames, params.every), faces=True)

    @staticmethod
    def arrays(params: FacenetParams) -> tuple[ArraySpec, ...]:
        """`pooled`, the mean of `frames` [T, 512]."""
        return row_arrays(WIDTH, params.sequence, faces=True)

    def length(self, sample: Sample) -> int:
        """Return a constant: all faces have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode the faces of all clips together."""
        return encode_faces(samples, lambda sample: largest_faces(sample, crop_truncated), self._forward)

    def _forward(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        images = [[crop.image for crop in clip] for clip in clips]
        for clip, rows in zip(
            clips, run_network(self._network, images, prepare_crop, self.device), strict=True
        ):
            boxes = [crop.box for crop in clip]
            yield build_encoded(rows, self.params.sequence, [crop.position for crop in clip], boxes)


def build() -> "nn.Module":
    """Build the network without its classification layer; 23,482,624 parameters."""
    from facenet_pytorch import InceptionResnetV1

    network: nn.Module = InceptionResnetV1(pretrained=None)
    return network


def prepare_crop(crop: Image) -> "Tensor":
    """Resize a crop to 160 x 160, with values about -1 to 1."""
    return to_tensor(resized(crop, SIDE), CENTRED)


ENTRY: Final[EncoderKind] = Facenet
