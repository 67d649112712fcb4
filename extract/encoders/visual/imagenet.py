"""Encoders with image classifiers of torchvision (ResNet, Swin ...), which were trained on ImageNet.

They encode whole pictures of a clip, or the largest face of each picture.

Source: docs/encoders.md#imagenet-networks-and-clip.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, Encoder, EncoderSpec, Input, Sample
from extract.encoders.run_singly import encode_usable
from extract.encoders.visual.cropping import (
    FaceCrop,
    Image,
    crop_face,
    enlarge_to_square,
    largest_faces,
    no_picture_reason,
)
from extract.encoders.visual.picture_rows import build_encoded, encode_faces, row_arrays, run_network
from extract.media.types import PictureRequest

if TYPE_CHECKING:
    from torch import Tensor, nn

Prepare = Callable[[Image], "Tensor"]


class PictureParams(Strict):
    """Parameters that all encoders with an image network have (ResNet, Swin, ViT, CLIP).

    Attributes:
        frames: largest number of pictures per clip, at equal distances.
        every: seconds between pictures; None takes `frames` pictures from every clip, however long it is.
        region: encode the whole picture (`scene`), or its largest face (`face`).
        centre_crop: True resizes a picture and keeps only its centre, as in the network's training; False resizes the
            whole picture. None means True for `scene`, and False for `face` (chin and forehead would be lost).
        margin: the square around a face box is enlarged by this fraction of its side.
        sequence: also keep a vector per picture, not only their mean.
    """

    frames: int = Field(8, ge=1)
    every: float | None = Field(None, gt=0)
    region: Literal["scene", "face"] = "scene"
    centre_crop: bool | None = None
    margin: float = Field(0.2, ge=0, le=2)
    sequence: bool = True

    @property
    def cropped(self) -> bool:
        """Whether only the centre of a resized picture is kept: the param `centre_crop`, or its default value."""
        return self.region == "scene" if self.centre_crop is None else self.centre_crop


class PictureEncoder:
    """Runs the pictures of clips, or the largest face of each picture, through an image network such as a ResNet."""

    def __init__(
        self, params: PictureParams, device: str, network: Callable[["Tensor"], Any], prepare: Prepare
    ) -> None:
        self.params, self.device = params, device
        self._network, self._prepare = network, prepare

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all pictures have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the pictures of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        if self.params.region == "scene":
            return encode_usable(samples, no_picture_reason, self._scenes)
        return encode_faces(samples, lambda sample: largest_faces(sample, self._cut), self._faces)

    def _cut(self, image: Image, box: Any) -> Image | None:
        return crop_face(image, enlarge_to_square(box, self.params.margin), 0)

    def _scenes(self, samples: list[Sample]) -> Iterator[Encoded]:
        images = [[frame.image for frame in sample.frames] for sample in samples]
        for rows in run_network(self._network, images, self._prepare, self.device):
            yield build_encoded(rows, self.params.sequence)

    def _faces(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        images = [[crop.image for crop in clip] for clip in clips]
        for clip, rows in zip(
            clips, run_network(self._network, images, self._prepare, self.device), strict=True
        ):
            boxes = [crop.box for crop in clip]
            yield build_encoded(rows, self.params.sequence, [crop.position for crop in clip], boxes)


def picture_input(params: PictureParams) -> Input:
    """Declare which input the encoder needs: pictures of the clip; with `region: face` also the faces in them."""
    return Input(pictures=PictureRequest(params.frames, params.every), faces=params.region == "face")


@dataclass(frozen=True)
class ImageNetKind:
    """An entry of the encoder registry for a network of torchvision, whose classification layer is removed.

    Attributes:
        spec: fixed properties of the encoder.
        model: name of the network in torchvision.
        pretrained_on: torchvision's name of the weights; pictures are resized and normalised as these weights need it.
        head: name of the classification layer, which is removed.
        width: number of values in the vector before the classification layer.
    """

    spec: EncoderSpec
    model: str
    pretrained_on: str
    head: str
    width: int
    Params: ClassVar[type[BaseModel]] = PictureParams

    def input(self, params: PictureParams, /) -> Input:
        """Declare which input the encoder needs: pictures, and the faces in them if `region` is `face`."""
        return picture_input(params)

    def arrays(self, params: PictureParams, /) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the mean over the pictures; with the param `sequence` also `frames` [T, width].

        `frames` has one row for each of T encoded pictures. With `region: face`, `positions` [T, 1] (index of the row's
        picture in the clip) and `boxes` [T, 4] (face box in pixels) are added.
        """
        return row_arrays(self.width, params.sequence, params.region == "face")

    def __call__(self, params: PictureParams, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Load the network's checkpoint and build the encoder on a device."""
        handle = weights or Weights(str(self.spec.weights))
        network = handle.network(self.headless, drop=(f"{self.head}.",), rename=current_name).to(device)
        return PictureEncoder(
            params, device, network, prepare_as(self.model, self.pretrained_on, params.cropped)
        )

    def headless(self) -> "nn.Module":
        """Build the network without its classification layer, so that it returns the vector before this layer."""
        from torch import nn
        from torchvision import models

        network: nn.Module = models.get_model(self.model, weights=None)
        setattr(network, self.head, nn.Identity())
        return network


def current_name(name: str) -> str:
    """Translate the name of a tensor in torchvision's published ViT checkpoint to its name in today's torchvision."""
    return name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.")


def prepare_as(model: str, pretrained_on: str, cropped: bool) -> Prepare:
    """Return a function that turns a picture into the input of a torchvision network: resized and normalised.

    Args:
        model: name of the network in torchvision.
        pretrained_on: torchvision's name of the weights.
        cropped: True keeps only the centre of the resized picture; False resizes the whole picture to the input size.
    """
    from PIL import Image as Pillow
    from torchvision import models

    transform: Any = models.get_model_weights(model)[pretrained_on].transforms()
    if not cropped:
        transform.resize_size = [*transform.crop_size, *transform.crop_size]

    def prepare(image: Image) -> "Tensor":
        tensor: Tensor = transform(Pillow.fromarray(image))
        return tensor

    return prepare


def _kind(
    name: str,
    summary: str,
    model: str,
    head: str,
    width: int,
    paper: str,
    pretrained_on: str = "IMAGENET1K_V1",
) -> ImageNetKind:
    spec = EncoderSpec(
        f"visual/{name}", "visual", summary, "equal", 1, "BSD-3-Clause", weights=name, paper=paper
    )
    return ImageNetKind(spec, model, pretrained_on, head, width)


_SWIN: Final = "Liu et al. 2021, arXiv 2103.14030"
_RESNET: Final = "He et al. 2016, arXiv 1512.03385"
RESNET50: Final = _kind("resnet50", "ResNet50, ImageNet", "resnet50", "fc", 2048, _RESNET, "IMAGENET1K_V2")
ENTRIES: Final = (
    _kind("resnet18", "ResNet18, ImageNet", "resnet18", "fc", 512, _RESNET),
    RESNET50,
    _kind("swin-b", "Swin base, ImageNet", "swin_b", "head", 1024, _SWIN),
    _kind("swin-t", "Swin tiny, ImageNet", "swin_t", "head", 768, _SWIN),
)
