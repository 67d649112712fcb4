"""Track faces in a clip: interpolate them between pictures in which they were detected, to save detections.

Faces are detected at regular times in the clip. These times do not depend on the pictures that an encoder uses. So the
pictures of one encoder do not change the features of another encoder.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.media.types import Faces

# IoU above which two boxes show one face: a head rarely moves half its width in a fraction of a second.
SAME_FACE = 0.5
SAME_TIME = 1e-6  # seconds; times are rounded sums

Times = NDArray[np.float64]


def interpolate_faces(
    grid_times: Sequence[float] | Times, grid_faces: Sequence[Faces], instants: Times
) -> list[Faces | None]:
    """Return the faces in a clip at any times, linearly interpolated between the detections before and after.

    Args:
        grid_times: times of the n pictures in which faces were detected; increasing, seconds, [n].
        grid_faces: the faces detected in these pictures, n items.
        instants: m times for which faces are wanted, in any order, seconds, [m].

    Returns:
        For each wanted time the faces, the most probable first. None if the time lies before the first or after the
        last detection, or if the faces detected before and after it do not match one to one.
    """
    times = np.asarray(grid_times, np.float64)
    pairs: dict[int, NDArray[np.intp] | None] = {}
    found: list[Faces | None] = []
    for instant in instants:
        after = int(np.searchsorted(times, instant - SAME_TIME))
        if after < len(times) and times[after] <= instant + SAME_TIME:
            found.append(grid_faces[after])
            continue
        if not 0 < after < len(times):
            found.append(None)
            continue
        first, second = grid_faces[after - 1], grid_faces[after]
        if after not in pairs:
            pairs[after] = match_boxes(first.boxes, second.boxes)
        partner = pairs[after]
        share = (instant - times[after - 1]) / (times[after] - times[after - 1])
        found.append(None if partner is None else blend(first, second, partner, float(share)))
    return found


def match_boxes(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.intp] | None:
    """Find out which face box in one picture belongs to which in another: boxes with an IoU of at least 0.5 match.

    Args:
        first, second: face boxes of the two pictures (corners x0, y0, x1, y1), [n, 4] and [m, 4].

    Returns:
        For each box of the first picture, the index of its match in the second picture, [n]. None if any box of either
        picture has no match or several, for example because two people cross.
    """
    if len(first) != len(second):
        return None
    together = iou_matrix(first, second) >= SAME_FACE
    if (together.sum(0) != 1).any() or (together.sum(1) != 1).any():
        return None
    return together.argmax(1) if len(first) else np.empty(0, np.intp)


def iou_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the intersection over union, in [0, 1], of each of n boxes [n, 4] with each of m boxes [m, 4]: [n, m]."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    found: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def blend(first: Faces, second: Faces, partner: NDArray[np.intp], share: float) -> Faces:
    """Return the n faces at a time between two detections, linearly interpolated, the most probable first.

    Args:
        first, second: the n faces in the picture before and in the picture after this time.
        partner: for each face of `first`, the index of the same face in `second`, [n].
        share: where the time lies between the two pictures, from 0 (first) to 1 (second).
    """

    def on_the_way(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        return (a.astype(np.float64) * (1 - share) + b[partner] * share).astype(np.float32)

    probabilities = on_the_way(first.probabilities, second.probabilities)
    order = np.argsort(-probabilities, kind="stable")
    boxes, points = on_the_way(first.boxes, second.boxes), on_the_way(first.points, second.points)
    return Faces(boxes[order], probabilities[order], points[order])
