"""What passes out of media files: pictures with the faces on them, and which pictures may be asked for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Times = NDArray[np.float64]  # seconds from the start of a file
Image = NDArray[np.uint8]  # RGB, [height, width, 3]


@dataclass(frozen=True)
class Faces:
    """Detections of one frame, by falling probability: a row of the detection table.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels, [n, 4].
        probabilities: [n].
        points: eyes, nose, mouth corners (x, y), [n, 5, 2].
    """

    boxes: FloatArray
    probabilities: FloatArray
    points: FloatArray


@dataclass(frozen=True)
class Frame:
    """A picture: seconds from the start of the file, RGB uint8 [height, width, 3], and its faces if asked for."""

    time: float
    image: NDArray[np.uint8]
    faces: Faces | None = None


Rule = Literal["spread", "middle", "first", "keys"]


@dataclass(frozen=True)
class Pictures:
    """Which pictures of a clip, and of which size; a picture that two instants ask for comes once.

    Attributes:
        count: so many; fewer when the clip has fewer.
        every: at the centres of stretches of so many seconds; with `count`, at most so many of them, evenly taken.
        side: length of the shorter side, pixels, as the decoder scales it; None for the pictures' own size.
        rule: `spread` over the clip, at the centres of equal stretches; `middle` or `first` successive pictures at
            the native rate (M2FNet); `keys`, those that are coded alone, completed by the instants that lie
            farthest from all others (AMuSE).
        window: with `spread`, only the middle so many seconds, on the grid of 30 pictures a second of AVT-CA;
            pictures beyond the end of a shorter clip are not there.
    """

    count: int | None = None
    every: float | None = None
    side: int | None = None
    rule: Rule = "spread"
    window: float | None = None
