"""Detect faces with MTCNN: three networks (P-Net, R-Net, O-Net) that run one after the other.

The method is that of Zhang, Zhang, Li and Qiao (2016), with the weights and details of the package facenet-pytorch. The
face policy of params.yaml sets the size of the smallest face, the steps of the image pyramid, how pictures are made
smaller, and how many boxes of one face reach the later networks. With `resize: area`, boxes, points and probabilities
equal those of facenet-pytorch.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ercache.params.schema import FacePolicy
from ercache.weights import checked_files, load_strict, provenance, read_tensors
from extract.media.types import Faces

if TYPE_CHECKING:
    from torch import Tensor, nn

FACES_KEY = "faces/mtcnn"
FACES_VERSION = 2
PNET_CELL = 12  # side of P-Net's field of view, pixels; its output has a stride of 2
SHORTEST_SIDE = 20  # pixels; facenet-pytorch fails below it (docs/encoders.md#faces)
CPU_PIXELS = 8 * 480 * 360  # pixels in a batch: more would not fit into the processor's cache
GPU_PIXELS = 32 * 1280 * 720  # memory grows with frames x pyramid levels
CPU_CROPS, GPU_CROPS = 32, 512  # crops in a batch, for the same reasons

Image = NDArray[np.uint8]


def faces_weights() -> dict[str, Any]:
    """Return what identifies MTCNN's weights, for example their key and digest; it is recorded in the provenance."""
    return provenance("mtcnn")


def no_faces() -> Faces:
    """Return `Faces` with zero boxes, for a picture in which no face is found."""
    return Faces(np.empty((0, 4), np.float32), np.empty((0,), np.float32), np.empty((0, 5, 2), np.float32))


def scales(height: int, width: int, policy: FacePolicy) -> list[float]:
    """Return the factors by which a picture is scaled for the image pyramid, the largest first.

    At the first factor, the smallest face to search for becomes as large as P-Net's field of view; the later factors
    find larger faces. The list is empty if the picture is too small for any face.

    Args:
        height, width: size of the picture, pixels.
        policy: the face policy, which sets the smallest face and the ratio of neighbouring factors.
    """
    short = float(min(height, width))
    if short < SHORTEST_SIDE:
        return []
    scale = PNET_CELL / max(policy.min_face_size, policy.min_face_share * short)
    short *= scale  # facenet's order of multiplications: rounding decides whether the last level exists
    found = []
    while short >= PNET_CELL:
        found.append(scale)
        scale, short = scale * policy.factor, short * policy.factor
    return found


def resize_pictures(pictures: "Tensor", size: tuple[int, int], how: str) -> "Tensor":
    """Resize B pictures [B, 3, height, width] with values 0 to 255.

    Args:
        pictures: the pictures.
        size: new height and width.
        how: `area` or `bilinear` (`resize` of the face policy). On a CPU, `bilinear` on bytes is 15 times as fast as
            `area` on floats.
    """
    from torch.nn.functional import interpolate

    return interpolate(pictures, size, mode=how, antialias=how == "bilinear")


def normalise_pixels(pictures: "Tensor") -> "Tensor":
    """Convert pixel values from 0 to 255 to about -1 to 1, as the three networks of MTCNN need them."""
    return (pictures.float() - 127.5) * 0.0078125


def crop_boxes(
    pictures: "Tensor", boxes: "Tensor", owner: "Tensor", side: int, how: str
) -> tuple["Tensor", "Tensor"]:
    """Cut n boxes out of their pictures, and bring them to the size and value range that a network needs.

    Boxes that lie outside the picture are skipped, so that m <= n crops result.

    Args:
        pictures: B pictures, [B, 3, height, width].
        boxes: corners x0, y0, x1, y1 of the n boxes in pixels, [n, 4].
        owner: index of the picture of each box, [n].
        side: side of the crops, pixels.
        how: `area` or `bilinear` (`resize` of the face policy).

    Returns:
        Two arrays: the m crops, [m, 3, side, side], and the index of the box of each crop, [m].
    """
    import torch

    height, width = pictures.shape[2:]
    corners = (
        boxes.trunc().int().tolist()
    )  # counted from 1 as in the authors' Matlab code; x1, y1 are inclusive
    crops, kept = [], []
    for n, (picture, (x0, y0, x1, y1)) in enumerate(zip(owner.tolist(), corners, strict=True)):
        left, top, right, bottom = max(x0, 1) - 1, max(y0, 1) - 1, min(x1, width), min(y1, height)
        if left < right and top < bottom:
            crop = pictures[picture : picture + 1, :, top:bottom, left:right]
            crops.append(resize_pictures(crop, (side, side), how))
            kept.append(n)
    stack = torch.cat([pictures.new_empty(0, 3, side, side), *crops])
    stack = normalise_pixels(stack).contiguous(memory_format=torch.channels_last)
    return stack, torch.tensor(kept, dtype=torch.long, device=pictures.device)


def run_in_chunks(network: "nn.Module", crops: "Tensor") -> list["Tensor"]:
    """Run a network on n crops [n, 3, side, side], a few at a time to limit memory.

    Returns:
        The network's output arrays; the first axis of each counts the n crops.
    """
    import torch

    size = CPU_CROPS if crops.device.type == "cpu" else GPU_CROPS
    return [torch.cat(arrays) for arrays in zip(*map(network, torch.split(crops, size)), strict=True)]


def to_squares(boxes: "Tensor") -> "Tensor":
    """Extend n boxes [n, 4] to squares: the shorter sides become as long as the longer ones, the centres stay."""
    import torch

    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], 1)


def shift_boxes(boxes: "Tensor", shifts: "Tensor") -> "Tensor":
    """Move the corners of n face boxes as a network proposes, and return the new boxes, [n, 4].

    Args:
        boxes: corners x0, y0, x1, y1 in pixels, [n, 4].
        shifts: how far to move each of the four values, as fractions of the box's width or height, [n, 4]. The width
            and height include the last pixel (x1 - x0 + 1).
    """
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def suppress_covered(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> list[int]:
    """Leave out boxes of a picture that a better box covers; return the indices of the others, the best first.

    A box is covered if the area that it shares with a box of a higher score is more than `overlap` times the area of
    the smaller of the two boxes.

    Args:
        boxes: corners x0, y0, x1, y1 of n boxes in pixels, [n, 4].
        scores: scores of the boxes, [n].
        overlap: largest shared area of two kept boxes, as a fraction of the smaller one.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = np.prod(high - low + 1, axis=1)
    # The sort is not stable, as in facenet: among the many faces with probability 1.0, the same one must win.
    left = list(np.argsort(scores)[::-1])
    kept = []
    while left:
        n, *rest = left
        kept.append(int(n))
        sides = np.minimum(high[n], high[rest]) - np.maximum(low[n], low[rest]) + 1
        shared = np.prod(np.maximum(sides, 0), axis=1) / np.minimum(areas[n], areas[rest])
        left = [m for m, share in zip(rest, shared, strict=True) if share <= overlap]
    return kept


class FaceFinder:
    """Detects faces in pictures with MTCNN.

    The faces of a picture depend slightly (up to 6e-5 pixels) on which other pictures are in the same call. To get
    equal bytes, pass the same pictures in the same calls.

    Args:
        policy: the face policy of params.yaml: smallest face, thresholds, image pyramid.
        device: torch device.

    Raises:
        WeightsError: the weight files are absent or damaged.
    """

    def __init__(self, policy: FacePolicy, device: str = "cpu") -> None:
        import torch

        from ercache.nets.mtcnn import ONet, PNet, RNet

        self.policy = policy
        self.device = torch.device(device)
        files = checked_files("mtcnn")
        networks = []
        with torch.random.fork_rng(
            devices=[]
        ):  # building draws random numbers; the caller's state must not change
            for name, kind in (("pnet.pt", PNet), ("rnet.pt", RNet), ("onet.pt", ONet)):
                network: Any = kind()
                load_strict(network, read_tensors(files[name]), f"mtcnn {name}")
                # channels_last: torch pools these three times as fast
                networks.append(network.eval().to(self.device, memory_format=torch.channels_last))
        self._pnet, self._rnet, self._onet = networks

    def find(self, images: Sequence[Image]) -> list[Faces]:
        """Return the faces in each picture, the most probable first.

        Args:
            images: RGB pictures, uint8 [height, width, 3]; their sizes may differ.
        """
        found = [no_faces() for _ in images]
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for n, image in enumerate(images):
            groups[image.shape[0], image.shape[1]].append(n)
        at_once = CPU_PIXELS if self.device.type == "cpu" else GPU_PIXELS
        for (height, width), members in groups.items():
            levels = scales(height, width, self.policy)
            size = max(1, at_once // max(1, height * width))
            for start in range(0, len(members) if levels else 0, size):
                chunk = members[start : start + size]
                for n, faces in zip(chunk, self._detect([images[n] for n in chunk], levels), strict=True):
                    found[n] = faces
        return found

    def _detect(self, images: Sequence[Image], levels: Sequence[float]) -> list[Faces]:
        import torch

        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            pictures = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
            if self.policy.resize == "area" or self.device.type != "cpu":
                pictures = pictures.float()  # torch cannot average bytes, nor interpolate them on a GPU
            boxes, owner = self._proposals(pictures, levels)
            boxes, owner = self._refined(pictures, boxes, owner)
            boxes, scores, points, owner = self._final(pictures, boxes, owner)
            arrays = [a.cpu().numpy() for a in (boxes, scores, points)]
            of = owner.cpu().numpy()
        return [self._row(*(a[of == n] for a in arrays)) for n in range(len(images))]

    def _proposals(self, pictures: "Tensor", levels: Sequence[float]) -> tuple["Tensor", "Tensor"]:
        """Run P-Net, the first network, which proposes where faces may be, at every scale of the image pyramid.

        Args:
            pictures: B pictures of one size, [B, 3, height, width].
            levels: factors by which the pictures are scaled for the pyramid.

        Returns:
            Two arrays: n squares that may contain a face, [n, 4], and the index of each square's picture, [n].
        """
        import torch

        from ercache.nets.mtcnn import non_maximum_suppression

        height, width = pictures.shape[2:]
        parts = []
        for scale in levels:
            size = (int(height * scale + 1), int(width * scale + 1))
            shifts, chances = self._pnet(
                normalise_pixels(resize_pictures(pictures, size, self.policy.resize))
            )
            owner, y, x = (chances[:, 1] >= self.policy.thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack([x, y], 1).float() * 2
            boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + PNET_CELL) / scale).floor()], 1)
            scores = chances[owner, 1, y, x]
            kept = non_maximum_suppression(boxes, scores, owner, 0.5)
            parts.append([a[kept] for a in (boxes, scores, owner, shifts[owner, :, y, x])])
        boxes, scores, owner, moves = (torch.cat(arrays) for arrays in zip(*parts, strict=True))
        kept = non_maximum_suppression(boxes, scores, owner, self.policy.overlap)
        boxes, moves = boxes[kept], moves[kept]
        return to_squares(boxes + moves * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)), owner[kept]

    def _refined(self, pictures: "Tensor", boxes: "Tensor", owner: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Run R-Net, the second network, which rejects most of P-Net's squares and moves the others to the faces.

        Args:
            pictures: B pictures of one size, [B, 3, height, width].
            boxes: squares that may contain a face, [m, 4].
            owner: index of each square's picture, [m].

        Returns:
            Two arrays: the n accepted squares, [n, 4], and the index of each square's picture, [n].
        """
        from ercache.nets.mtcnn import non_maximum_suppression

        crops, inside = crop_boxes(pictures, boxes, owner, 24, self.policy.resize)
        boxes, owner = boxes[inside], owner[inside]
        if not len(crops):  # the network's own reshape fails on an empty batch
            return boxes, owner
        shifts, chances = run_in_chunks(self._rnet, crops)
        passed = chances[:, 1] > self.policy.thresholds[1]
        boxes, owner, shifts, scores = boxes[passed], owner[passed], shifts[passed], chances[passed, 1]
        kept = non_maximum_suppression(boxes, scores, owner, self.policy.overlap)
        return to_squares(shift_boxes(boxes[kept], shifts[kept])), owner[kept]

    def _final(
        self, pictures: "Tensor", boxes: "Tensor", owner: "Tensor"
    ) -> tuple["Tensor", "Tensor", "Tensor", "Tensor"]:
        """Run O-Net, the third network, which decides which squares contain a face and finds the facial points.

        Args:
            pictures: B pictures of one size, [B, 3, height, width].
            boxes: squares that R-Net accepted, [m, 4].
            owner: index of each square's picture, [m].

        Returns:
            Four arrays about the n accepted faces: boxes [n, 4], probabilities [n], points [n, 5, 2], and the index of
            each face's picture [n].
        """
        crops, inside = crop_boxes(pictures, boxes, owner, 48, self.policy.resize)
        boxes, owner = boxes[inside], owner[inside]
        if not len(crops):
            return boxes, boxes[:, 0], boxes.new_empty(0, 5, 2), owner
        shifts, marks, chances = run_in_chunks(self._onet, crops)
        passed = chances[:, 1] > self.policy.thresholds[2]
        boxes, owner, shifts, marks = boxes[passed], owner[passed], shifts[passed], marks[passed]
        sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, None]
        points = marks.reshape(-1, 2, 5).transpose(1, 2) * sides + boxes[:, None, :2] - 1
        return shift_boxes(boxes, shifts), chances[passed, 1], points, owner

    def _row(self, boxes: Any, scores: Any, points: Any) -> Faces:
        """Return the faces of one picture, without improbable faces and without those that a better face covers.

        Args:
            boxes: corners of n faces in pixels, [n, 4].
            scores: probabilities, [n].
            points: facial points, [n, 5, 2].
        """
        kept = suppress_covered(boxes, scores, 0.7)
        order = [n for n in kept if scores[n] >= self.policy.min_probability]
        return Faces(boxes[order], scores[order], points[order])
