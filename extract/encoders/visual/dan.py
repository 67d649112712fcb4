"""DAN, an expression network on faces: the visual feature of AVAFN (docs/papers/avafn.md, section 3.2)."""

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
        weights: checkpoint trained on AffectNet with 7 or 8 emotions, or on RAF-DB.
        visual_feature: what is kept: the pooled features of the trunk (`gap`), the sum of the attention heads
            (`fused`), both (`gap_plus_fused`), or the four heads (`heads`).
        every: seconds between pictures.
        frames: largest number of pictures per clip, chosen at equal distances.
        margin: fraction of its side by which the square around a face is enlarged.
        sequence: also keep one row per picture, not only the mean.
    """

    weights: Literal["dan-affectnet7", "dan-affectnet8", "dan-rafdb"] = "dan-affectnet7"
    visual_feature: Form = "gap_plus_fused"
    every: float = Field(0.2, gt=0)
    frames: int = Field(64, ge=1)
    margin: float = Field(0.2, ge=0, le=2)
    sequence: bool = False


class Dan:
    """Encodes the largest face of each picture with DAN; `pooled` is the mean over the pictures with a face.

    With random weights the outputs of the heads are in the thousands, so float32 rounding differences are large as
    well.
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
        """Return the input that the encoder needs: pictures of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames, params.every), faces=True)

    @staticmethod
    def arrays(params: DanParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the mean over the faces; with the param `sequence` also three further arrays.

        These have one row for each of T faces: `frames` [T, width] (the vectors), `positions` (index of the face's
        picture) and `boxes` (face box). The width depends on the param `visual_feature`: 512 for `gap` and `fused`,
        1024 for `gap_plus_fused`, 2048 for `heads`.
        """
        return row_arrays(WIDTHS[params.visual_feature], params.sequence, faces=True)

    def length(self, sample: Sample) -> int:
        """Return 0. A length is needed only to form batches, and all face crops have the same size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the faces of all clips through the network; return the arrays of each clip, or why it has none."""
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
    """Return a face crop as DAN's input: resized to a square and standardised as for ImageNet.

    The aspect ratio is not kept.
    """
    return to_tensor(resized(crop, SIDE), IMAGENET)


ENTRY: Final[EncoderKind] = Dan
