"""A face feature without a network: histograms of oriented gradients (HOG), computed with scikit-image.

HOG counts the directions of edges in small cells of the face crop.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.cropping import choose_box, crop_face
from extract.media.types import FloatArray, Frame, PictureRequest


class FaceHogParams(Strict):
    """Parameters of `visual/face-hog`.

    Attributes:
        frames: number of pictures per clip, at equal distances.
        size: side to which a face crop is resized, pixels.
        orientations: number of edge directions that are counted, which are the bins of a histogram.
        cell: side of a cell, the square that gets one histogram, pixels.
        block: side of a block, the square of cells whose histograms are normalised together, in cells.
        margin: added to the face box on every side, as a fraction of the box's width or height.
        face: which face of a picture is used: the `largest` or the `most_probable` one.
        pool: how the vectors of the pictures become `pooled`: by their mean (`mean`), or by mean and standard deviation
            side by side (`mean_std`).
    """

    frames: int = Field(6, ge=1)
    size: int = Field(96, ge=16)
    orientations: int = Field(8, ge=2)
    cell: int = Field(16, ge=2)
    block: int = Field(1, ge=1, le=4)
    margin: float = Field(0.1, ge=0, le=2)
    face: Literal["largest", "most_probable"] = "largest"
    pool: Literal["mean", "mean_std"] = "mean_std"

    @model_validator(mode="after")
    def _fits(self) -> "FaceHogParams":
        if self.blocks < 1:
            raise ValueError(
                f"a crop of {self.size} pixels is smaller than a block of {self.block} x {self.cell} pixels"
            )
        return self

    @property
    def blocks(self) -> int:
        """Number of blocks (squares of cells, which may overlap) along a side of the face crop."""
        return self.size // self.cell - self.block + 1

    @property
    def width(self) -> int:
        """Number of values in the HOG descriptor of one face."""
        return self.blocks**2 * self.block**2 * self.orientations


class FaceHog:
    """Describes one face per picture of a clip by histograms of oriented gradients (HOG).

    The array `frames` has one row per picture with a face, in order of time; `pooled` sums up these rows.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/face-hog",
        modality="visual",
        summary="histograms of oriented gradients of the face (scikit-image)",
        batch="one",
        version=1,
        licence="BSD-3-Clause",
    )
    Params: ClassVar[type[BaseModel]] = FaceHogParams

    def __init__(self, params: FaceHogParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params = params

    @staticmethod
    def input(params: FaceHogParams) -> Input:
        """Declare which input the encoder needs: pictures of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames), faces=True)

    @staticmethod
    def arrays(params: FaceHogParams) -> tuple[ArraySpec, ...]:
        """Declare three arrays of a clip: `pooled`, `frames` and `boxes`; T of its pictures show a face.

        `frames` [T, width] holds the HOG descriptors of the T faces, `pooled` [1, width] their mean (with `pool:
        mean_std` also their standard deviation, [1, 2 width]), `boxes` [T, 4] the face boxes without margin.
        """
        pooled = params.width * (2 if params.pool == "mean_std" else 1)
        return (
            ArraySpec("pooled", "vector", ("utterance", "statistic"), (pooled,)),
            ArraySpec("frames", "sequence", ("frame", "bin"), (params.width,)),
            ArraySpec("boxes", "sequence", ("frame", "x0_y0_x1_y1"), (4,), units="pixels"),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute HOG descriptors of the faces of each clip.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return [self._one(sample.frames) for sample in samples]

    def _one(self, frames: Sequence[Frame]) -> Encoded | Missing:
        if not frames:
            return Missing(Reason.NO_VIDEO)
        boxes: list[FloatArray] = []
        rows: list[FloatArray] = []
        for frame in frames:
            box = choose_box(frame.faces, self.params.face)
            crop = None if box is None else crop_face(frame.image, box, self.params.margin)
            if box is not None and crop is not None:
                boxes.append(box)
                rows.append(describe(crop, self.params))
        if not rows:
            return Missing(Reason.NO_FACE, f"none in {len(frames)} frames")
        values = np.stack(rows)  # [T, width]
        parts = (
            [values.mean(axis=0), values.std(axis=0)]
            if self.params.pool == "mean_std"
            else [values.mean(axis=0)]
        )
        pooled = np.concatenate(parts, dtype=np.float32)[None]
        if not np.isfinite(values).all():
            return Missing(Reason.FAULT, "the gradients are not finite")
        return Encoded({"pooled": pooled, "frames": values, "boxes": np.stack(boxes)}, frames=len(rows))


def describe(crop: NDArray[np.uint8], params: FaceHogParams) -> FloatArray:
    """Return the HOG descriptor of a face crop (RGB bytes, any size): a vector with `params.width` values."""
    from skimage.color import rgb2gray
    from skimage.feature import hog
    from skimage.transform import resize

    shape = (params.size, params.size)
    grey = resize(rgb2gray(crop), shape, order=1, mode="edge", anti_aliasing=True)  # type: ignore[no-untyped-call]
    values = hog(
        grey,
        orientations=params.orientations,
        pixels_per_cell=(params.cell, params.cell),
        cells_per_block=(params.block, params.block),
        block_norm="L2-Hys",
        feature_vector=True,
    )
    return np.asarray(values, dtype=np.float32)


ENTRY: Final[EncoderKind] = FaceHog
