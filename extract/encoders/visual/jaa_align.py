"""Align faces for JAA-Net: the line between the eyes becomes horizontal, the face is centred, the side is 176 pixels.

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
    """Return the affine map [2, 3] from picture coordinates to those of the aligned crop; None if both eyes coincide.

    Args:
        points: eyes, nose, mouth corners, [5, 2].
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
    """Return the aligned face crop [176, 176, 3].

    Pixels are interpolated bilinearly. Places outside the picture are grey.
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
    """Convert points [..., 2] from coordinates of the aligned crop to pixels of the picture."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.asarray((points - matrix[:, 2]) @ inverse.T, np.float64)
