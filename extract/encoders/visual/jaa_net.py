"""JAA-Net, a network for facial action units: the face feature of AMuSE (docs/papers/amuse.md, section 3.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.cropping import Image, box_areas, no_face_reason
from extract.encoders.visual.jaa_align import Matrix, align_crop, alignment_matrix, to_picture
from extract.encoders.visual.picture_rows import Statistics, face_arrays, face_values, run_network, to_tensor
from extract.media.types import FloatArray, PictureRequest

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN: Final = 512
UNITS: Final = 12
LANDMARKS: Final = 49
CENTRED: Final[Statistics] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class JaaNetParams(Strict):
    """Parameters of `visual/jaa-net`.

    Attributes:
        frames: number of keyframes per clip; a clip with fewer keyframes gives other pictures instead.
        faces_of: which faces count: `area_mean` takes the mean over the faces of a picture, weighted by their areas;
            `largest` takes only the largest face.
        most_faces: with `area_mean`, only this many faces per picture are used, the largest ones.
        face_feature: which values are kept: those of the last hidden layer and the probabilities of 12 action units
            (`penult_au`, 524 values), or only the probabilities (`au`, 12 values).
    """

    frames: int = Field(8, ge=1)
    faces_of: Literal["area_mean", "largest"] = "area_mean"
    most_faces: int = Field(5, ge=1)
    face_feature: Literal["penult_au", "au"] = "penult_au"


@dataclass(frozen=True)
class AlignedFace:
    """A face that was aligned for JAA-Net (rotated and cropped): index of its picture, box [4], area, matrix and crop.

    The matrix [2, 3] maps points of the picture to points of the crop.
    """

    position: int
    box: FloatArray
    area: float
    matrix: Matrix
    image: Image


class JaaNetEncoder:
    """Encodes the faces in a clip's keyframes with JAA-Net: a vector, 12 action units and facial landmarks per picture.

    Pictures without a face are left out. Landmarks and face boxes belong to the largest face of a picture, in pixels.
    The action units are 1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23 and 24, as labelled in the data set BP4D.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/jaa-net",
        modality="visual",
        summary="action units and landmarks of the faces on keyframes",
        batch="equal",
        version=1,
        licence="none stated (BP4D forbids free redistribution)",
        weights="jaa-net",
        paper="Shao et al. 2021, arXiv 2003.08834; AMuSE",
    )
    Params: ClassVar[type[BaseModel]] = JaaNetParams

    def __init__(self, params: JaaNetParams, device: str = "cpu", weights: Weights | None = None) -> None:
        from ercache.nets.jaa_net import PARTS, UNUSED, JaaNet

        self.params, self.device = params, device
        handle = weights or Weights("jaa-net")
        parts = {
            name: handle.network(kind, file=f"{name}.pth", drop=(UNUSED,)) for name, kind in PARTS.items()
        }
        self._network = JaaNet(**parts).to(device).eval()  # type: ignore[arg-type]  # one type for each name

    @staticmethod
    def input(params: JaaNetParams) -> Input:
        """Declare which input the encoder needs: keyframes of the clip, and the faces detected in them."""
        return Input(pictures=PictureRequest(params.frames, rule="keys"), faces=True)

    @staticmethod
    def arrays(params: JaaNetParams) -> tuple[ArraySpec, ...]:
        """Declare six arrays of a clip with T pictures that show a face: one row per such picture, except `pooled`.

        `frames` [T, width] holds the face features, `pooled` [1, width] their mean; the width is 524, or 12 with
        `face_feature: au`. The others are `probabilities` [T, 12] (of the action units), `landmarks` [T, 49, 2],
        `positions` [T, 1] (index of the picture in the clip) and `boxes` [T, 4] (face box).
        """
        width = UNITS if params.face_feature == "au" else HIDDEN + UNITS
        return (
            ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,)),
            ArraySpec("frames", "sequence", ("frame", "dimension"), (width,)),
            ArraySpec("probabilities", "sequence", ("frame", "action_unit"), (UNITS,)),
            ArraySpec("landmarks", "sequence", ("frame", "landmark", "x_y"), (LANDMARKS, 2), units="pixels"),
            *face_arrays(),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all face crops have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the faces of all clips through the network.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        found = [self._faces(sample) for sample in samples]
        good = [own for own in found if own]
        results = iter(self._forward(good) if good else ())
        return [next(results) if own else no_face_reason(s) for s, own in zip(samples, found, strict=True)]

    def _faces(self, sample: Sample) -> list[AlignedFace]:
        most = 1 if self.params.faces_of == "largest" else self.params.most_faces
        return [face for n in range(len(sample.frames)) for face in aligned_faces(sample, n, most)]

    def _forward(self, clips: list[list[AlignedFace]]) -> Iterator[Encoded]:
        images = [[face.image for face in clip] for clip in clips]
        for clip, rows in zip(clips, run_network(self._rows, images, prepare_crop, self.device), strict=True):
            yield self._encoded(clip, rows)

    def _rows(self, faces: "Tensor") -> "Tensor":
        import torch

        output = self._network(faces)
        return torch.cat([output.hidden, output.probabilities, output.landmarks.flatten(1)], 1)

    def _encoded(self, clip: list[AlignedFace], rows: FloatArray) -> Encoded:
        positions = sorted({face.position for face in clip})
        frames, landmarks, first = [], [], []
        for position in positions:
            own = [n for n, face in enumerate(clip) if face.position == position]  # by decreasing area
            weight = np.array([clip[n].area for n in own])
            frames.append((weight / weight.sum()) @ rows[own, : HIDDEN + UNITS])
            first.append(clip[own[0]])
            landmarks.append(
                to_picture(rows[own[0], HIDDEN + UNITS :].reshape(LANDMARKS, 2), first[-1].matrix)
            )
        values = np.stack(frames).astype(np.float32)
        kept = values[:, HIDDEN:] if self.params.face_feature == "au" else values
        arrays = {
            "pooled": kept.mean(axis=0, keepdims=True),
            "frames": kept,
            "probabilities": values[:, HIDDEN:],
            "landmarks": np.stack(landmarks).astype(np.float32),
            **face_values(positions, [face.box for face in first]),
        }
        return Encoded(arrays, len(positions))


def aligned_faces(sample: Sample, position: int, most: int) -> list[AlignedFace]:
    """Align the largest faces of one picture, at most `most` of them, and return them by decreasing size.

    `position` is the index of the picture in the clip.
    """
    frame = sample.frames[position]
    faces = frame.faces
    if faces is None or not len(faces.boxes):
        return []
    sizes = box_areas(faces.boxes)
    found = []
    for n in np.argsort(-sizes, kind="stable")[:most]:
        matrix = alignment_matrix(faces.points[n])
        if matrix is not None and sizes[n] > 0:
            crop = align_crop(frame.image, matrix)
            found.append(AlignedFace(position, faces.boxes[n], float(sizes[n]), matrix, crop))
    return found


def prepare_crop(crop: Image) -> "Tensor":
    """Turn an aligned face crop into JAA-Net's input [3, 176, 176], with values from -1 to 1."""
    return to_tensor(crop, CENTRED)


ENTRY: Final[EncoderKind] = JaaNetEncoder
