"""Run the pictures of many clips through one network, a few at a time, and sort the output rows by clip."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ercache.cache import ArraySpec
from ercache.reasons import Missing
from extract.encoders.base import Encoded, Sample
from extract.encoders.visual.cropping import FaceCrop, Image, no_face_reason
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

CPU_IMAGES: Final = 8  # images in a batch: more would not fit into the processor's cache
GPU_IMAGES: Final = 256

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation, RGB in [0, 1]

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


def run_network(
    network: Callable[["Tensor"], Any],
    clips: Sequence[Sequence[Image]],
    prepare: Callable[[Image], "Tensor"],
    device: str,
) -> list[FloatArray]:
    """Return the network's output for the pictures of each clip: for T pictures an array [T, D], D values per picture.

    Args:
        network: maps a batch of B pictures, [B, 3, height, width], to [B, D].
        clips: pictures of each clip; there must be at least one picture in total.
        prepare: turns a picture into an input of the network. It is called batch by batch, because an input needs four
            times the memory of a picture.
        device: torch device.
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


def to_tensor(image: Image, statistics: Statistics) -> "Tensor":
    """Convert an RGB image (bytes, [height, width, 3]) to a float32 tensor [3, height, width].

    Values are scaled to [0, 1]. Then the mean of each colour channel is subtracted, and the result is divided by the
    standard deviation of the channel; `statistics` gives both.
    """
    import torch

    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    scaled = torch.tensor(image).permute(2, 0, 1).float() / 255
    return (scaled - mean) / deviation


def row_arrays(width: int, sequence: bool, faces: bool) -> tuple[ArraySpec, ...]:
    """Declare `pooled` [1, width], the mean over the pictures, and, with `sequence`, also `frames` [T, width].

    `frames` has one row for each of T pictures. For faces, `sequence` also adds the arrays of `face_arrays`: the
    picture of each row and the face box.
    """
    found = [ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))]
    if sequence:
        found.append(ArraySpec("frames", "sequence", ("frame", "dimension"), (width,)))
    return (*found, *(face_arrays() if sequence and faces else ()))


def face_arrays() -> tuple[ArraySpec, ...]:
    """Declare two arrays with one row per face: `positions` (index of its picture, from 0) and `boxes` (pixels).

    A picture without a face has no row.
    """
    return (
        ArraySpec("positions", "sequence", ("frame", "picture"), (1,), "int32", "pictures"),
        ArraySpec("boxes", "sequence", ("frame", "x0_y0_x1_y1"), (4,), units="pixels"),
    )


def build_encoded(
    rows: FloatArray, sequence: bool, positions: Sequence[int] | None = None, boxes: Any = None
) -> Encoded:
    """Return the result of one clip: `pooled`, the mean of its rows, and the other arrays of `row_arrays`."""
    arrays: dict[str, Any] = {"pooled": rows.mean(axis=0, keepdims=True)}
    if sequence:
        arrays["frames"] = rows
    if sequence and positions is not None:
        arrays |= face_values(positions, boxes)
    return Encoded(arrays, len(rows))


def face_values(positions: Sequence[int], boxes: Sequence[FloatArray]) -> dict[str, Any]:
    """Return the two arrays that `face_arrays` declares, `positions` and `boxes`, for the faces of one clip."""
    return {"positions": np.array(positions, np.int32)[:, None], "boxes": np.stack(boxes).astype(np.float32)}


def encode_faces(
    samples: Sequence[Sample],
    crops: Callable[[Sample], list[FaceCrop]],
    forward: Callable[[list[list[FaceCrop]]], Iterator[Encoded]],
) -> list[Encoded | Missing]:
    """Encode the faces of all clips in one batch, and return the results in the order of the samples.

    The feature of a clip without a face is missing.

    Args:
        samples: one sample per clip.
        crops: returns the face crops of a sample.
        forward: encodes a list of clips, each a list of face crops.
    """
    found = [crops(sample) for sample in samples]
    good = [own for own in found if own]
    results = iter(forward(good) if good else ())
    return [next(results) if own else no_face_reason(s) for s, own in zip(samples, found, strict=True)]
