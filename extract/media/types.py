"""Data types that media and encoders share: frames with faces, and requests for pictures."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Times = NDArray[np.float64]  # seconds from the start of a file
Image = NDArray[np.uint8]  # RGB, [height, width, 3]


@dataclass(frozen=True)
class Faces:
    """The n faces that were detected in one frame, by decreasing probability.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels, [n, 4].
        probabilities: detection probabilities, [n].
        points: eyes, nose and mouth corners as (x, y) in pixels, [n, 5, 2].
    """

    boxes: FloatArray
    probabilities: FloatArray
    points: FloatArray


@dataclass(frozen=True)
class Frame:
    """A picture of a clip.

    Attributes:
        time: time at which the picture begins, seconds from the start of the file.
        image: RGB uint8, [height, width, 3].
        faces: the faces detected in the picture; None if no detection was requested.
    """

    time: float
    image: NDArray[np.uint8]
    faces: Faces | None = None


PictureRule = Literal["spread", "middle", "first", "keys"]


@dataclass(frozen=True)
class PictureRequest:
    """Which pictures to take from a clip, and at which size. A picture that is chosen twice is returned once.

    `count` or `every` must be set, or both.

    Attributes:
        count: number of pictures; a clip with fewer pictures gives fewer.
        every: divide the clip into intervals of this many seconds, and take the picture at the centre of each. If
            `count` is set as well, at most `count` of these pictures are taken, evenly chosen.
        side: length of the shorter side in pixels, scaled by FFmpeg; None keeps the original size.
        rule: how `count` pictures are chosen. `spread`: at the centres of equal intervals of the clip. `middle`,
            `first`: successive pictures from the middle or the beginning (M2FNet). `keys`: keyframes; if there are too
            few, also pictures as far as possible from all others (AMuSE).
        window: with `spread`, use only this many seconds in the middle of the clip, and choose from 30 times per second
            there, as AVT-CA does. Times after the end of a shorter clip are left out.
    """

    count: int | None = None
    every: float | None = None
    side: int | None = None
    rule: PictureRule = "spread"
    window: float | None = None
