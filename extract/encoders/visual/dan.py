"""DAN, a network for facial expressions: the visual feature of the paper AVAFN (docs/papers/avafn.md, section 3.2)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.cropping import FaceCrop, Image, crop_face, enlarge_to_square, largest_faces
from extract.encoders.visual.picture_rows import (
    IMAGENET,
    build_encoded,
    encode_faces,
    row_arrays,
    run_network,
    to_tensor,
)
from extract.media.mel_image import resized
from extract.media.types import FloatArray, PictureRequest

if TYPE_CHECKING:
    from torch import Tensor

SIDE: Final = 224
WIDTHS: Final = {"gap_plus_fused": 1024, "gap": 512, "fused": 512, "heads": 2048}
CLASSES: Final = {"dan-affectnet7": 7, "dan-affectnet8": 8, "dan-rafdb": 7}

Form = Literal["gap_plus_fused", "gap", "fused", "heads"]


class DanParams(Strict):
    """Parameters of `visual/dan`.

    Attributes:
        weights: checkpoint trained on the data set AffectNet with 7 or 8 emotions, or on RAF-DB.
        visual_feature: which vector of a face is kept: the mean over the feature map before the attention heads
            (`gap`), the sum of the four attention heads (`fused`), both (`gap_plus_fused`), or the four heads side by
            side (`heads`).
        every: seconds between pictures.
        frames: largest number of pictures per clip; if there are more, pictures at equal distances are chosen.
        margin: the square around a face box is enlarged by this fraction of its side.
        sequence: also keep a vector per picture, not only their mean.
    """

    weights: Literal["dan-affectnet7", "dan-affectnet8", "dan-rafdb"] = "dan-affectnet7"
    visual_feature: Form = "gap_plus_fused"
    every: float = Field(0.2, gt=0)
    frames: int = Field(64, ge=1)
    margin: float = Field(0.2, ge=0, le=2)
    sequence: bool = False


class Dan:
    """Encodes the largest face of each picture with DAN; `pooled` is the mean over the pictures with a face.

    With random weights, which serve for tests, the outputs are in the thousands, and so rounding errors are large.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/dan",
        modality="visual",
        summary="facial expressions by cross attention: trunk and fused heads",
        batch="equal",
        version=1,
        licence="MIT",
        weights="dan-affectnet7",
        paper="Wen et al. 2021, arXiv 2109.07270; AVAFN",
    )
    Params: ClassVar[type[BaseModel]] = DanParams

    def __init__(self, params: DanParams, device: str = "cpu", weights: Weights | None = None) -> None:
        from ercache.nets.dan import DAN

        self.params, self.device = params, device
        handle = weights or Weights(params.weights)
        classes = CLASSES[params.weights]
        self._network = handle.network(lambda: DAN(classes), inside="model_state_dict").to(device)

    @staticmethod
    def input(params: DanParams) -> Input:
        """Declare which input the encoder needs: pictures of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames, params.every), faces=True)

    @staticmethod
    def arrays(params: DanParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the mean over the faces of a clip; with the param `sequence` three more arrays.

        These have one row for each of T faces: `frames` [T, width] (the vectors), `positions` [T, 1] (index of the
        picture in the clip) and `boxes` [T, 4] (face box in pixels). The width is 512 with `visual_feature: gap` or
        `fused`, 1024 with `gap_plus_fused`, and 2048 with `heads`.
        """
        return row_arrays(WIDTHS[params.visual_feature], params.sequence, faces=True)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all face crops have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the faces of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_faces(samples, lambda sample: largest_faces(sample, self._cut), self._forward)

    def _cut(self, image: Image, box: FloatArray) -> Image | None:
        return crop_face(image, enlarge_to_square(box, self.params.margin), 0)

    def _forward(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        images = [[crop.image for crop in clip] for clip in clips]
        for clip, rows in zip(clips, run_network(self._rows, images, prepare_crop, self.device), strict=True):
            boxes = [crop.box for crop in clip]
            yield build_encoded(rows, self.params.sequence, [crop.position for crop in clip], boxes)

    def _rows(self, faces: "Tensor") -> "Tensor":
        import torch

        output, form = self._network(faces), self.params.visual_feature
        gap, fused = output.features.mean((2, 3)), output.heads.sum(1)
        forms: dict[Form, Tensor] = {
            "gap_plus_fused": torch.cat([gap, fused], 1),
            "gap": gap,
            "fused": fused,
            "heads": output.heads.flatten(1),
        }
        return forms[form]


def prepare_crop(crop: Image) -> "Tensor":
    """Turn a face crop into DAN's input [3, 224, 224]: resize it, and normalise colours with ImageNet's statistics.

    A crop that is not square is stretched.
    """
    return to_tensor(resized(crop, SIDE), IMAGENET)


ENTRY: Final[EncoderKind] = Dan
