"""Choose a face in a picture and crop the picture around it. Each encoder crops as the paper behind it says.

Boxes are x0, y0, x1, y1 in pixels; pictures are RGB uint8 [height, width, 3].
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
    """A face cropped from a picture.

    Attributes:
        position: index of the picture in the clip's list of pictures.
        box: the detected box, without margin, [4].
        image: the crop, RGB uint8 [height, width, 3].
    """

    position: int
    box: FloatArray
    image: Image


def choose_box(faces: Faces | None, choice: Literal["largest", "most_probable"]) -> FloatArray | None:
    """Return the box [4] of the largest or most probable face of a picture; None if there is no face.

    The detector sorts the boxes by decreasing probability.
    """
    if faces is None or len(faces.boxes) == 0:
        return None
    best = 0 if choice == "most_probable" else int(np.argmax(box_areas(faces.boxes)))
    return np.asarray(faces.boxes[best], dtype=np.float32)


def box_areas(boxes: FloatArray) -> FloatArray:
    """Return the areas [n], in square pixels, of n boxes [n, 4]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def enlarge_to_square(box: FloatArray, share: float) -> FloatArray:
    """Return a square box [4] with the same centre as a given box.

    The side of the square is the longer side of the box, times (1 + share).
    """
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * (1 + share) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def crop_face(image: Image, box: FloatArray, margin: float) -> Image | None:
    """Crop all pixels that a box touches, plus a margin; None if fewer than 4 pixels in height or width are left.

    The margin on each side is a fraction of the box's width or height.
    """
    extra = margin * (box[2:] - box[:2])
    return _part(image, np.floor(box[:2] - extra), np.ceil(box[2:] + extra))


def crop_rounded(image: Image, box: FloatArray) -> Image | None:
    """Crop a box with corners rounded to whole pixels; None if fewer than 4 pixels in height or width are left."""
    return _part(image, np.rint(box[:2]), np.rint(box[2:]))


def crop_truncated(image: Image, box: FloatArray) -> Image | None:
    """Crop a box as facenet-pytorch does, with corners truncated to whole pixels.

    Returns:
        The crop; None if fewer than 4 pixels in height or width are left.
    """
    return _part(image, np.trunc(box[:2]), np.trunc(box[2:]))


def _part(image: Image, low: FloatArray, high: FloatArray) -> Image | None:
    height, width = image.shape[:2]
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.minimum(high, (width, height)).astype(int)
    crop = image[y0 : max(y0, y1), x0 : max(x0, x1)]
    return crop if min(crop.shape[:2]) >= MIN_CROP_SIDE else None


def largest_faces(sample: Sample, cut: Callable[[Image, FloatArray], Image | None]) -> list[FaceCrop]:
    """Return a crop of the largest face of every picture; pictures without a face are left out.

    Args:
        sample: one clip.
        cut: function that crops a picture at a box; it returns None if too few pixels are left.
    """
    found = []
    for position, frame in enumerate(sample.frames):
        box = choose_box(frame.faces, "largest")
        crop = None if box is None else cut(frame.image, box)
        if box is not None and crop is not None:
            found.append(FaceCrop(position, box, crop))
    return found


def no_face_reason(sample: Sample) -> Missing:
    """Return why a clip has no face crop: it has no picture, or no picture shows a face."""
    if not sample.frames:
        return Missing(Reason.NO_VIDEO)
    return Missing(Reason.NO_FACE, f"none in {len(sample.frames)} frames")


def no_picture_reason(sample: Sample) -> Missing | None:
    """Return why a clip has no picture, or None if it has one."""
    return None if sample.frames else Missing(Reason.NO_VIDEO)
