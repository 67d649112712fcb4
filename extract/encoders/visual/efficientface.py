"""EfficientFace, a small network for facial expressions: the visual feature of the paper AVT-CA, with frozen weights.

Source: docs/papers/avtca.md, sections 3.3 and 3.4.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.avtca_crops import SIDE, AvtcaPictures, avtca_crops, avtca_input
from extract.encoders.visual.cropping import FaceCrop, Image
from extract.encoders.visual.picture_rows import (
    Statistics,
    build_encoded,
    encode_faces,
    row_arrays,
    run_network,
    to_tensor,
)
from extract.media.mel_image import resized

if TYPE_CHECKING:
    from torch import Tensor

WIDTH: Final = 1024
NORMS: Final[dict[str, Statistics]] = {  # mean and standard deviation, RGB, as the authors list them
    "affectnet": ((0.55391484, 0.43522123, 0.3821877), (0.24837189, 0.21625527, 0.20221159)),
    "none": ((0, 0, 0), (1, 1, 1)),
}


class EfficientFaceParams(AvtcaPictures):
    """Parameters of `visual/efficientface`; it also has those that choose the pictures (`AvtcaPictures`).

    Attributes:
        video_normalize: how pixel values are normalised: to 0..1 and then with the mean and standard deviation of
            AffectNet, the checkpoint's training data (`affectnet`), or only to 0..1 (`none`).
        channels: order of the colour channels; `bgr` repeats a mistake in the code of AVT-CA's predecessor.
    """

    video_normalize: Literal["affectnet", "none"] = "affectnet"
    channels: Literal["rgb", "bgr"] = "rgb"


class EfficientFaceEncoder:
    """Encodes one face per picture of a clip with EfficientFace.

    With the default params, a clip of at least 3.6 s gives 15 vectors of 1024 values; a shorter clip gives fewer.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/efficientface",
        modality="visual",
        summary="facial expressions by a small network",
        batch="equal",
        version=1,
        licence="MIT",
        weights="efficientface",
        paper="Zhao et al. 2021 (AAAI); AVT-CA",
    )
    Params: ClassVar[type[BaseModel]] = EfficientFaceParams

    def __init__(
        self, params: EfficientFaceParams, device: str = "cpu", weights: Weights | None = None
    ) -> None:
        from ercache.nets.efficientface import EfficientFace

        self.params, self.device = params, device
        handle = weights or Weights("efficientface")
        self._network = handle.network(EfficientFace, inside="state_dict", drop=("fc.",)).to(device)

    @staticmethod
    def input(params: EfficientFaceParams) -> Input:
        """Declare which input the encoder needs: pictures from the middle of the clip, and the faces in them."""
        return avtca_input(params)

    @staticmethod
    def arrays(params: EfficientFaceParams) -> tuple[ArraySpec, ...]:
        """Declare four arrays of a clip: `pooled`, `frames`, `positions` and `boxes`.

        `frames` [T, 1024] holds a vector for each of T face crops (T is 15 by default), `pooled` [1, 1024] their mean.
        `positions` [T, 1] holds the index of the crop's picture in the clip, `boxes` [T, 4] the face box in pixels.
        """
        return row_arrays(WIDTH, sequence=True, faces=True)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all face crops have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the faces of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_faces(samples, avtca_crops, self._forward)

    def _forward(self, clips: list[list[FaceCrop]]) -> Iterator[Encoded]:
        images = [[crop.image for crop in clip] for clip in clips]
        for clip, rows in zip(
            clips, run_network(self._network, images, self._prepare_crop, self.device), strict=True
        ):
            yield build_encoded(rows, True, [crop.position for crop in clip], [crop.box for crop in clip])

    def _prepare_crop(self, crop: Image) -> "Tensor":
        image = resized(crop, SIDE)
        given = image if self.params.channels == "rgb" else np.ascontiguousarray(image[..., ::-1])
        return to_tensor(given, NORMS[self.params.video_normalize])


ENTRY: Final[EncoderKind] = EfficientFaceEncoder
