"""Run the pictures of several clips through one network, and return the network's output for each clip."""

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
    """Run the pictures of several clips through a network; return an array [T, D] for each clip of T pictures.

    D is the number of values that the network gives per picture. Pictures of different clips share batches.

    Args:
        network: maps a batch of B pictures, [B, 3, height, width], to [B, D].
        clips: pictures of each clip; there must be at least one picture in total.
        prepare: turns a picture into an input of the network. It is called just before its batch runs, because an input
            needs four times the memory of a picture.
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
    """Convert an image, RGB bytes [height, width, 3], to a normalised float32 tensor [3, height, width].

    Values are scaled to [0, 1]. Then each colour channel is normalised with a mean and a standard deviation, which
    `statistics` gives for red, green and blue.
    """
    import torch

    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    scaled = torch.tensor(image).permute(2, 0, 1).float() / 255
    return (scaled - mean) / deviation


def row_arrays(width: int, sequence: bool, faces: bool) -> tuple[ArraySpec, ...]:
    """Declare the arrays of an encoder that gives a vector of `width` values for each of T pictures or faces.

    `pooled` [1, width] is the mean of the vectors. With `sequence`, `frames` [T, width] keeps all of them. With
    `sequence` and `faces`, `positions` and `boxes` are added (see `face_arrays`).
    """
    found = [ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))]
    if sequence:
        found.append(ArraySpec("frames", "sequence", ("frame", "dimension"), (width,)))
    return (*found, *(face_arrays() if sequence and faces else ()))


def face_arrays() -> tuple[ArraySpec, ...]:
    """Declare two arrays with one row for each of a clip's T faces: `positions` [T, 1] and `boxes` [T, 4].

    `positions` holds the index of the face's picture in the clip, from 0; `boxes` holds x0, y0, x1, y1 in pixels.
    """
    return (
        ArraySpec("positions", "sequence", ("frame", "picture"), (1,), "int32", "pictures"),
        ArraySpec("boxes", "sequence", ("frame", "x0_y0_x1_y1"), (4,), units="pixels"),
    )


def build_encoded(
    rows: FloatArray, sequence: bool, positions: Sequence[int] | None = None, boxes: Any = None
) -> Encoded:
    """Return the result of one clip: the mean of its vectors (`pooled`) and the other arrays of `row_arrays`.

    Args:
        rows: vectors of the clip's T pictures or faces, [T, width].
        sequence: whether to keep the vectors too, not only their mean.
        positions: for faces, index of the picture of each.
        boxes: for faces, the face box of each.
    """
    arrays: dict[str, Any] = {"pooled": rows.mean(axis=0, keepdims=True)}
    if sequence:
        arrays["frames"] = rows
    if sequence and positions is not None:
        arrays |= face_values(positions, boxes)
    return Encoded(arrays, len(rows))


def face_values(positions: Sequence[int], boxes: Sequence[FloatArray]) -> dict[str, Any]:
    """Return the arrays `positions` [T, 1] and `boxes` [T, 4] for the T faces of one clip, in a dict by name."""
    return {"positions": np.array(positions, np.int32)[:, None], "boxes": np.stack(boxes).astype(np.float32)}


def encode_faces(
    samples: Sequence[Sample],
    crops: Callable[[Sample], list[FaceCrop]],
    forward: Callable[[list[list[FaceCrop]]], Iterator[Encoded]],
) -> list[Encoded | Missing]:
    """Crop and encode the faces of several clips; return for each clip, in order, its arrays or why there are none.

    Args:
        samples: inputs of the encoder, one per clip.
        crops: function that returns the face crops of a clip.
        forward: function that encodes a list of clips, each given as a list of at least one face crop.
    """
    found = [crops(sample) for sample in samples]
    good = [own for own in found if own]
    results = iter(forward(good) if good else ())
    return [next(results) if own else no_face_reason(s) for s, own in zip(samples, found, strict=True)]
