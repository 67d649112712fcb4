"""Align faces for JAA-Net: rotate a face until its eyes are level, centre it, and cut out 176 x 176 pixels.

Source: docs/papers/amuse.md, section 3.2.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from extract.encoders.visual.cropping import Image
from extract.media.types import FloatArray

SIDE: Final = 176
WHOLE: Final = 200  # side of the aligned picture, of which the centre is used
ENLARGED: Final = 2.9  # side of the aligned picture, relative to the extent of the five points
FILL: Final = 128  # grey outside the picture

Matrix = NDArray[np.float64]


def alignment_matrix(points: FloatArray) -> Matrix | None:
    """Return the affine matrix [2, 3] that maps points of a picture to points of the aligned face crop.

    Return None if the eyes have the same position, or a coordinate is not finite.

    Args:
        points: x and y of the left and the right eye, the nose and the two mouth corners in the picture, [5, 2].
    """
    places = points.astype(np.float64)
    across = places[1] - places[0]
    length = float(np.hypot(*across))
    if not np.isfinite(places).all() or length == 0:
        return None
    cos, sin = across / length
    turn = np.array([[cos, sin], [-sin, cos]])
    turned = places @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    half = 0.5 * ENLARGED * (high - low).max()
    scale = (WHOLE - 1) / 2 / half
    middle = np.full(2, (WHOLE - 1) / 2 - (WHOLE - SIDE) // 2)
    shift = middle - scale * (low + high) / 2
    return np.concatenate([scale * turn, shift[:, None]], axis=1)


def align_crop(image: Image, matrix: Matrix) -> Image:
    """Cut an aligned face out of a picture, [176, 176, 3], RGB bytes.

    Pixels are interpolated bilinearly; parts of the crop that lie outside the picture are grey.

    Args:
        image: the picture, RGB bytes [height, width, 3].
        matrix: affine matrix of the face, from `alignment_matrix`, [2, 3].
    """
    from scipy.ndimage import map_coordinates

    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    there = to_picture(np.stack([x, y], axis=-1), matrix)  # [176, 176, 2]
    at = [there[..., 1], there[..., 0]]
    planes = [
        map_coordinates(image[..., c].astype(np.float32), at, order=1, mode="grid-constant", cval=FILL)
        for c in range(3)
    ]
    return np.asarray(np.rint(np.stack(planes, axis=-1)), np.uint8)


def to_picture(points: NDArray[np.floating], matrix: Matrix) -> Matrix:
    """Convert points (x, y) from coordinates of the aligned face crop to pixels of the picture, [..., 2] each."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.asarray((points - matrix[:, 2]) @ inverse.T, np.float64)
