"""The visual feature of M2FNet: for an utterance, one vector of the whole pictures (scenes) and one of all faces.

The user trains the network for both with `ercache pretrain`.

Source: docs/papers/m2fnet.md, section 3.3.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.trained_extractors import load_extractor
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.cropping import crop_face
from extract.encoders.visual.m2fnet_images import SIZES, embed_images, network_of, width_of
from extract.media.mel_image import resized
from extract.media.types import Faces, FloatArray, Frame, PictureRequest

MARGIN: Final = 0.1  # relative to the box, on each side of a face crop
Selection = Literal["center", "first", "uniform"]
Norm = Literal["sum", "max", "frame"]
Part = Literal["scene", "face"]
Rules: Final[dict[Selection, Literal["middle", "first", "spread"]]] = {
    "center": "middle",
    "first": "first",
    "uniform": "spread",
}


class M2fnetDualParams(Strict):
    """Parameters of `visual/m2fnet-dual`.

    Attributes:
        pretrained: name of the training run under `pretrain:` in params.yaml that produced the weights.
        embed: which vector is kept: the output of the ResNet18 (`encoder`, 512 values), or that of the linear layer
            after it, the projector (`z`, 300 values).
        frames: number of pictures per utterance.
        select: which pictures of the utterance are taken: successive ones from its middle (`center`) or its beginning
            (`first`), or pictures at equal distances over the utterance (`uniform`).
        parts: which arrays are computed: `scene`, `face` or both.
        area_norm: what the area of a face is divided by to get its weight: the sum of all face areas in the picture
            (`sum`), the largest face area (`max`), or the area of the picture (`frame`); see R5 in
            docs/papers/m2fnet.md.
    """

    pretrained: str = "m2fnet_dual"
    embed: Literal["z", "encoder"] = "z"
    frames: int = Field(15, ge=1)
    select: Selection = "center"
    parts: tuple[Part, ...] = Field(("scene", "face"), min_length=1)
    area_norm: Norm = "sum"


class M2fnetDual:
    """Encodes the whole pictures (scenes) and the faces of an utterance with the ResNet18 of M2FNet.

    Each dimension of the array `scene` is the maximum over all pictures. Each dimension of `face` is the maximum over
    the pictures with a face; each of these has one vector, the weighted sum over its faces.

    Raises:
        WeightsError: `ercache pretrain` has not written the weights yet, or they belong to another encoder.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/m2fnet-dual",
        modality="visual",
        summary="ResNet18 on scenes and area-weighted faces, trained by `ercache pretrain`",
        batch="one",
        version=1,
        licence="that of the data it is trained on",
        paper="M2FNet",
    )
    Params: ClassVar[type[BaseModel]] = M2fnetDualParams

    def __init__(self, params: M2fnetDualParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params, self.device = params, device
        handle = weights or Weights(f"made/{params.pretrained}")
        network, config = load_extractor(handle, self.spec.key, network_of, {"size": "paper"})
        self._network, self._side = network.to(device), SIZES[config["size"]]

    @staticmethod
    def input(params: M2fnetDualParams) -> Input:
        """Declare which input the encoder needs: pictures, and the faces in them if `parts` contains `face`."""
        rule = Rules[params.select]
        return Input(pictures=PictureRequest(params.frames, rule=rule), faces="face" in params.parts)

    @staticmethod
    def arrays(params: M2fnetDualParams) -> tuple[ArraySpec, ...]:
        """Declare the arrays that the param `parts` names: `scene` [1, width], `face` [1, width], or both.

        An utterance without any face has an empty `face`, [0, width]. The width is 512 with `embed: encoder` (output of
        the ResNet18), and 300 with `embed: z` (output of the projector after it).
        """
        shape, axes = (width_of(params.embed),), ("utterance", "dimension")
        faceless = "optional" if "scene" in params.parts else "vector"
        kinds = {"scene": "vector", "face": faceless}
        return tuple(ArraySpec(part, kinds[part], axes, shape) for part in params.parts)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode the clips one by one, each with a batch of its whole pictures and a batch of its faces.

        Returns:
            For each clip, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return [self._one(sample.frames) for sample in samples]

    def _one(self, frames: Sequence[Frame]) -> Encoded | Missing:
        if not frames:
            return Missing(Reason.NO_VIDEO)
        arrays: dict[str, FloatArray] = {}
        if "scene" in self.params.parts:
            arrays["scene"] = self._embed([frame.image for frame in frames]).max(axis=0, keepdims=True)
        if "face" in self.params.parts:
            arrays["face"] = self._faces(frames)
            if len(arrays) == 1 and not len(arrays["face"]):
                return Missing(Reason.NO_FACE, f"none in {len(frames)} frames")
        return Encoded(arrays, frames=len(frames))

    def _faces(self, frames: Sequence[Frame]) -> FloatArray:
        """Return one vector of D values for all faces of a clip, [1, D]; [0, D] if no picture has a face.

        For each picture, the embeddings of its faces are multiplied by the faces' weights and summed. Each dimension of
        the result is the maximum over the pictures.
        """
        found = [(frame, areas, crops) for frame in frames for areas, crops in [face_crops(frame)] if crops]
        if not found:
            return np.empty((0, width_of(self.params.embed)), np.float32)
        vectors = self._embed([crop for _, _, crops in found for crop in crops])
        ends = np.cumsum([len(crops) for _, _, crops in found])
        rows = [
            face_weights(areas, frame.image, self.params.area_norm) @ of_frame
            for (frame, areas, _), of_frame in zip(found, np.split(vectors, ends[:-1]), strict=True)
        ]
        return np.asarray(np.stack(rows).max(axis=0, keepdims=True), np.float32)

    def _embed(self, images: Sequence[NDArray[np.uint8]]) -> FloatArray:
        squares = np.stack([resized(image, self._side) for image in images])
        return embed_images(self._network, squares, self.params.embed, self.device)


def face_crops(frame: Frame) -> tuple[FloatArray, list[NDArray[np.uint8]]]:
    """Return two things for the n faces of a picture: their areas in square pixels, [n], and their crops.

    The area is that of the face box inside the picture. A crop has a margin of 10 % on each side. Faces whose crop
    would be below 4 pixels in height or width are left out.
    """
    faces = frame.faces or Faces(*(np.empty((0, *s), np.float32) for s in ((4,), (), (5, 2))))
    height, width = frame.image.shape[:2]
    areas, crops = [], []
    for box in faces.boxes:
        inside = np.clip(box, 0, (width, height, width, height))
        crop = crop_face(frame.image, box, MARGIN)
        area = float((inside[2] - inside[0]) * (inside[3] - inside[1]))
        if crop is not None and area > 0:
            areas.append(area)
            crops.append(crop)
    return np.asarray(areas, np.float32), crops


def face_weights(areas: FloatArray, image: NDArray[np.uint8], norm: Norm) -> FloatArray:
    """Return the weights with which the n faces of a picture are summed, [n].

    The weight of a face is its area, divided by the sum of the n areas (`norm` is `sum`), by the largest of them
    (`max`), or by the area of the picture (`frame`).
    """
    if norm == "frame":
        return np.asarray(areas / (image.shape[0] * image.shape[1]), np.float32)
    return np.asarray(areas / (areas.sum() if norm == "sum" else areas.max()), np.float32)


ENTRY: Final[EncoderKind] = M2fnetDual
