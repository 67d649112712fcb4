"""Pictures of many clips through one network, a few at a time, and the rows back to their clips."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ercache.cache import ArraySpec
from ercache.reasons import Missing
from extract.encoders.base import Encoded, Sample
from extract.encoders.visual.common import FaceCrop, Image, without_faces
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

CPU_IMAGES: Final = 8  # of a forward: more fall out of the processor's cache
GPU_IMAGES: Final = 256

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, RGB of 0 to 1

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


def through(
    network: Callable[["Tensor"], Any],
    clips: Sequence[Sequence[Image]],
    prepare: Callable[[Image], "Tensor"],
    device: str,
) -> list[FloatArray]:
    """Rows [T, D] of each clip's pictures.

    Args:
        network: from [B, 3, height, width] to [B, D].
        clips: of any number of pictures each, together at least one.
        prepare: from a picture to the network's input; done late, because inputs are four times as large.
    """
    import torch

    images = [image for clip in clips for image in clip]
    step = CPU_IMAGES if device == "cpu" else GPU_IMAGES
    parts = []
    with torch.inference_mode():
        for n in range(0, len(images), step):
            batch = torch.stack([prepare(image) for image in images[n : n + step]])
            parts.append(network(batch.to(device)).float().cpu().numpy())
    ends = np.cumsum([len(clip) for clip in clips])
    return [np.ascontiguousarray(rows) for rows in np.split(np.concatenate(parts), ends[:-1])]


def as_input(image: Image, statistics: Statistics) -> "Tensor":
    """RGB bytes [height, width, 3] as float32 [3, height, width]: to 0 to 1, less the mean, by the deviation."""
    import torch

    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    scaled = torch.tensor(image).permute(2, 0, 1).float() / 255
    return (scaled - mean) / deviation


def row_arrays(width: int, sequence: bool, faces: bool) -> tuple[ArraySpec, ...]:
    """`pooled` [1, D]; with `sequence` also `frames` [T, D], and of faces which pictures and boxes they are of.

    `positions` counts the pictures that the encoder asked for from 0, since those without a face have no row.
    """
    found = [ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))]
    if sequence:
        found.append(ArraySpec("frames", "sequence", ("frame", "dimension"), (width,)))
    return (*found, *(face_arrays() if sequence and faces else ()))


def face_arrays() -> tuple[ArraySpec, ...]:
    """Which pictures the rows are of, and where the face lies."""
    return (
        ArraySpec("positions", "sequence", ("frame", "picture"), (1,), "int32", "pictures"),
        ArraySpec("boxes", "sequence", ("frame", "x0_y0_x1_y1"), (4,), units="pixels"),
    )


def encoded_rows(
    rows: FloatArray, sequence: bool, positions: Sequence[int] | None = None, boxes: Any = None
) -> Encoded:
    """What `row_arrays` declares."""
    arrays: dict[str, Any] = {"pooled": rows.mean(axis=0, keepdims=True)}
    if sequence:
        arrays["frames"] = rows
    if sequence and positions is not None:
        arrays |= face_values(positions, boxes)
    return Encoded(arrays, len(rows))


def face_values(positions: Sequence[int], boxes: Sequence[FloatArray]) -> dict[str, Any]:
    """What `face_arrays` declares."""
    return {"positions": np.array(positions, np.int32)[:, None], "boxes": np.stack(boxes).astype(np.float32)}


def encode_faces(
    samples: Sequence[Sample],
    crops: Callable[[Sample], list[FaceCrop]],
    forward: Callable[[list[list[FaceCrop]]], Iterator[Encoded]],
) -> list[Encoded | Missing]:
    """Results in the order of the samples; those without a face are missing, the others share the forward."""
    found = [crops(sample) for sample in samples]
    good = [own for own in found if own]
    results = iter(forward(good) if good else ())
    return [next(results) if own else without_faces(s) for s, own in zip(samples, found, strict=True)]
