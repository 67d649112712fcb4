"""Choose a face in a picture and cut out the picture around it (a crop), in the ways that different papers describe.

A face box is x0, y0, x1, y1 in pixels. Pictures and crops are RGB bytes [height, width, 3].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ercache.reasons import Missing, Reason
from extract.encoders.base import Sample
from extract.media.types import Faces, FloatArray

MIN_CROP_SIDE: Final = 4  # pixels

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class FaceCrop:
    """A face that was cut out of a picture of a clip.

    Attributes:
        position: index of the picture in the clip's list of pictures.
        box: face box x0, y0, x1, y1 as the detector gave it, pixels, [4].
        image: the crop, RGB bytes [height, width, 3]; it may be larger than the box.
    """

    position: int
    box: FloatArray
    image: Image


def choose_box(faces: Faces | None, choice: Literal["largest", "most_probable"]) -> FloatArray | None:
    """Return the box [4] of one face of a picture: the largest or the most probable one; None if there is no face.

    In `faces`, the boxes must be sorted by decreasing probability, as the face detector returns them.
    """
    if faces is None or len(faces.boxes) == 0:
        return None
    best = 0 if choice == "most_probable" else int(np.argmax(box_areas(faces.boxes)))
    return np.asarray(faces.boxes[best], dtype=np.float32)


def box_areas(boxes: FloatArray) -> FloatArray:
    """Return the area of each of n face boxes, in square pixels: boxes [n, 4] give areas [n]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def enlarge_to_square(box: FloatArray, share: float) -> FloatArray:
    """Return a square [4] with the centre of a face box; its side is the longer side of the box times (1 + share)."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * (1 + share) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def crop_face(image: Image, box: FloatArray, margin: float) -> Image | None:
    """Cut a face box and a margin out of a picture; None if the crop is below 4 pixels in height or width.

    The margin on each side is a fraction of the box's width or height. Pixels that the area touches partly are kept.
    """
    extra = margin * (box[2:] - box[:2])
    return _part(image, np.floor(box[:2] - extra), np.ceil(box[2:] + extra))


def crop_rounded(image: Image, box: FloatArray) -> Image | None:
    """Cut a face box out of a picture, with corners rounded to the nearest whole pixels.

    Return None if the crop is below 4 pixels in height or width.
    """
    return _part(image, np.rint(box[:2]), np.rint(box[2:]))


def crop_truncated(image: Image, box: FloatArray) -> Image | None:
    """Cut a face box out of a picture as the package facenet-pytorch does: fractions of pixels are dropped.

    Return None if the crop is below 4 pixels in height or width.
    """
    return _part(image, np.trunc(box[:2]), np.trunc(box[2:]))


def _part(image: Image, low: FloatArray, high: FloatArray) -> Image | None:
    height, width = image.shape[:2]
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.minimum(high, (width, height)).astype(int)
    crop = image[y0 : max(y0, y1), x0 : max(x0, x1)]
    return crop if min(crop.shape[:2]) >= MIN_CROP_SIDE else None


def largest_faces(sample: Sample, cut: Callable[[Image, FloatArray], Image | None]) -> list[FaceCrop]:
    """Cut the largest face out of every picture of a clip; pictures without a usable face are left out.

    Args:
        sample: input of the encoder for one clip, with its pictures and their faces.
        cut: function that cuts a face box out of a picture; it returns None if the crop is too small.
    """
    found = []
    for position, frame in enumerate(sample.frames):
        box = choose_box(frame.faces, "largest")
        crop = None if box is None else cut(frame.image, box)
        if box is not None and crop is not None:
            found.append(FaceCrop(position, box, crop))
    return found


def no_face_reason(sample: Sample) -> Missing:
    """Return why a clip without face crops has none: it has no picture, or none of its pictures shows a face."""
    if not sample.frames:
        return Missing(Reason.NO_VIDEO)
    return Missing(Reason.NO_FACE, f"none in {len(sample.frames)} frames")


def no_picture_reason(sample: Sample) -> Missing | None:
    """Return a `Missing` (`no_video`) for a clip without pictures; None for a clip with pictures."""
    return None if sample.frames else Missing(Reason.NO_VIDEO)
