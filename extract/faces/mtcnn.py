"""Faces in pictures: the three networks of MTCNN (weights of facenet-pytorch) under a policy of params.yaml.

The cascade is Zhang, Zhang, Li and Qiao's (2016) in facenet-pytorch's variant: with `resize: area` boxes, points and
probabilities are those of that package. What a policy may change is the size of the smallest face, the steps of
the pyramid, how pictures are made smaller and how many boxes of one face the later networks see.
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
CELL = 12  # pixels that P-Net sees of a face; its output has a stride of 2
SHORTEST_SIDE = 20  # pixels; facenet-pytorch fails below it (docs/encoders.md#faces)
CPU_PIXELS = 8 * 480 * 360  # of a forward: more fall out of the processor's cache
GPU_PIXELS = 32 * 1280 * 720  # memory grows with frames x pyramid
CPU_CROPS, GPU_CROPS = 32, 512  # of a forward, for the same reasons

Image = NDArray[np.uint8]


def faces_weights() -> dict[str, Any]:
    """Provenance of the three networks of the cascade."""
    return provenance("mtcnn")


def no_faces() -> Faces:
    """The row of a frame without a face."""
    return Faces(np.empty((0, 4), np.float32), np.empty((0,), np.float32), np.empty((0, 5, 2), np.float32))


def scales(height: int, width: int, policy: FacePolicy) -> list[float]:
    """Sizes of the pyramid's levels, as shares of the picture's; none when no face fits."""
    short = float(min(height, width))
    if short < SHORTEST_SIDE:
        return []
    scale = CELL / max(policy.min_face_size, policy.min_face_share * short)
    short *= scale  # facenet's order of multiplications: rounding decides about the last level
    found = []
    while short >= CELL:
        found.append(scale)
        scale, short = scale * policy.factor, short * policy.factor
    return found


def resized(pictures: "Tensor", size: tuple[int, int], how: str) -> "Tensor":
    """Pictures [B, 3, height, width] of 0 to 255 at another size.

    Args:
        how: `resize` of the policy. On a CPU `bilinear` takes bytes 15 times as quickly as `area` takes floats.
    """
    from torch.nn.functional import interpolate

    return interpolate(pictures, size, mode=how, antialias=how == "bilinear")


def normalised(pictures: "Tensor") -> "Tensor":
    """Pictures of 0 to 255 as the networks want them, about [-1, 1]."""
    return (pictures.float() - 127.5) * 0.0078125


def cut(
    pictures: "Tensor", boxes: "Tensor", owner: "Tensor", side: int, how: str
) -> tuple["Tensor", "Tensor"]:
    """What lies in each box [n, 4] of its picture, as the networks want it; and which boxes lie in it at all.

    Returns:
        crops [m, 3, side, side] and the m numbers of their boxes.
    """
    import torch

    height, width = pictures.shape[2:]
    corners = boxes.trunc().int().tolist()  # from 1, as in the authors' Matlab; x1, y1 are inclusive
    crops, kept = [], []
    for n, (picture, (x0, y0, x1, y1)) in enumerate(zip(owner.tolist(), corners, strict=True)):
        left, top, right, bottom = max(x0, 1) - 1, max(y0, 1) - 1, min(x1, width), min(y1, height)
        if left < right and top < bottom:
            crop = pictures[picture : picture + 1, :, top:bottom, left:right]
            crops.append(resized(crop, (side, side), how))
            kept.append(n)
    stack = torch.cat([pictures.new_empty(0, 3, side, side), *crops])
    stack = normalised(stack).contiguous(memory_format=torch.channels_last)
    return stack, torch.tensor(kept, dtype=torch.long, device=pictures.device)


def in_parts(network: "nn.Module", crops: "Tensor") -> list["Tensor"]:
    """A network's outputs for crops [n, 3, side, side], a few at a time for the sake of memory."""
    import torch

    size = CPU_CROPS if crops.device.type == "cpu" else GPU_CROPS
    return [torch.cat(arrays) for arrays in zip(*map(network, torch.split(crops, size)), strict=True)]


def squares(boxes: "Tensor") -> "Tensor":
    """Boxes [n, 4] widened about their centres to squares."""
    import torch

    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], 1)


def moved(boxes: "Tensor", shifts: "Tensor") -> "Tensor":
    """Boxes [n, 4] with corners shifted by shares of their sides [n, 4]; last pixels count."""
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def best(boxes: "Tensor", scores: "Tensor", owner: "Tensor", overlap: float) -> "Tensor":
    """Numbers of the boxes that no better one of their picture overlaps (IoU) more than so."""
    from torchvision.ops import batched_nms

    # float64, because boxes of different pictures are told apart by large offsets
    kept: Tensor = batched_nms(boxes.double(), scores.double(), owner, overlap)
    return kept


def outermost(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> list[int]:
    """Numbers of one picture's boxes of which no better box covers more than this share, or is covered so."""
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = np.prod(high - low + 1, axis=1)
    # not stable, as in facenet: among the many faces of probability 1.0 the same one must win
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
    """Finds faces with a policy on a torch device.

    A frame's faces depend on the other frames of the call by up to 6e-5 pixels; for equal bytes give the
    same frames in the same calls.

    Raises:
        WeightsError: the networks' files are absent or damaged.
    """

    def __init__(self, policy: FacePolicy, device: str = "cpu") -> None:
        import torch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

        self.policy = policy
        self.device = torch.device(device)
        files = checked_files("mtcnn")
        networks = []
        with torch.random.fork_rng(devices=[]):  # building draws random numbers, which are not ours to take
            for name, kind in (("pnet.pt", PNet), ("rnet.pt", RNet), ("onet.pt", ONet)):
                network = kind(pretrained=False)
                load_strict(network, read_tensors(files[name]), f"mtcnn {name}")
                # rows of pixels with their channels together: torch pools these three times as quickly
                networks.append(network.eval().to(self.device, memory_format=torch.channels_last))
        self._pnet, self._rnet, self._onet = networks

    def find(self, images: Sequence[Image]) -> list[Faces]:
        """Faces of each RGB picture [height, width, 3], by falling probability; of any sizes, in order."""
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
                pictures = pictures.float()  # torch averages no bytes, and interpolates none on a GPU
            boxes, owner = self._proposals(pictures, levels)
            boxes, owner = self._refined(pictures, boxes, owner)
            boxes, scores, points, owner = self._final(pictures, boxes, owner)
            arrays = [a.cpu().numpy() for a in (boxes, scores, points)]
            of = owner.cpu().numpy()
        return [self._row(*(a[of == n] for a in arrays)) for n in range(len(images))]

    def _proposals(self, pictures: "Tensor", levels: Sequence[float]) -> tuple["Tensor", "Tensor"]:
        """Squares [n, 4] that may hold a face, by P-Net at every level; and the pictures [n] they lie in."""
        import torch

        height, width = pictures.shape[2:]
        parts = []
        for scale in levels:
            size = (int(height * scale + 1), int(width * scale + 1))
            shifts, chances = self._pnet(normalised(resized(pictures, size, self.policy.resize)))
            owner, y, x = (chances[:, 1] >= self.policy.thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack([x, y], 1).float() * 2
            boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + CELL) / scale).floor()], 1)
            scores = chances[owner, 1, y, x]
            kept = best(boxes, scores, owner, 0.5)
            parts.append([a[kept] for a in (boxes, scores, owner, shifts[owner, :, y, x])])
        boxes, scores, owner, moves = (torch.cat(arrays) for arrays in zip(*parts, strict=True))
        kept = best(boxes, scores, owner, self.policy.overlap)
        boxes, moves = boxes[kept], moves[kept]
        return squares(boxes + moves * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)), owner[kept]

    def _refined(self, pictures: "Tensor", boxes: "Tensor", owner: "Tensor") -> tuple["Tensor", "Tensor"]:
        """The squares that R-Net lets pass, moved to the faces."""
        crops, inside = cut(pictures, boxes, owner, 24, self.policy.resize)
        boxes, owner = boxes[inside], owner[inside]
        if not len(crops):  # the network's own reshape fails without
            return boxes, owner
        shifts, chances = in_parts(self._rnet, crops)
        passed = chances[:, 1] > self.policy.thresholds[1]
        boxes, owner, shifts, scores = boxes[passed], owner[passed], shifts[passed], chances[passed, 1]
        kept = best(boxes, scores, owner, self.policy.overlap)
        return squares(moved(boxes[kept], shifts[kept])), owner[kept]

    def _final(
        self, pictures: "Tensor", boxes: "Tensor", owner: "Tensor"
    ) -> tuple["Tensor", "Tensor", "Tensor", "Tensor"]:
        """The faces that O-Net lets pass: boxes [n, 4], probabilities [n], points [n, 5, 2], pictures [n]."""
        crops, inside = cut(pictures, boxes, owner, 48, self.policy.resize)
        boxes, owner = boxes[inside], owner[inside]
        if not len(crops):
            return boxes, boxes[:, 0], boxes.new_empty(0, 5, 2), owner
        shifts, marks, chances = in_parts(self._onet, crops)
        passed = chances[:, 1] > self.policy.thresholds[2]
        boxes, owner, shifts, marks = boxes[passed], owner[passed], shifts[passed], marks[passed]
        sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, None]
        points = marks.reshape(-1, 2, 5).transpose(1, 2) * sides + boxes[:, None, :2] - 1
        return moved(boxes, shifts), chances[passed, 1], points, owner

    def _row(self, boxes: Any, scores: Any, points: Any) -> Faces:
        """A row of the table from what the cascade found in one picture."""
        kept = outermost(boxes, scores, 0.7)
        order = [n for n in kept if scores[n] >= self.policy.min_probability]
        return Faces(boxes[order], scores[order], points[order])
