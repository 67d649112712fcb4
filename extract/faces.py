"""Faces in pictures: MTCNN of facenet-pytorch, giving the rows of a clip's detection table."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ercache.params import FacePolicy
from ercache.weights import checked_files, load_strict, provenance, read_tensors
from extract.encoders.base import Faces

if TYPE_CHECKING:
    from torch import Tensor, nn

FACES_KEY = "faces/mtcnn"
FACES_VERSION = 1
FACTOR = 0.709  # ratio of neighbouring scales of the image pyramid, facenet-pytorch's default
SHORTEST_SIDE = 20  # pixels; below it the cascade fails (specs/encoders.md 5.1)
PIXELS_AT_ONCE = 32 * 1280 * 720  # memory grows with frames x pyramid

Image = NDArray[np.uint8]


def faces_weights() -> dict[str, Any]:
    """Provenance of the three networks of the cascade."""
    return provenance("mtcnn")


def no_faces() -> Faces:
    """The row of a frame without a face."""
    return Faces(np.empty((0, 4), np.float32), np.empty((0,), np.float32), np.empty((0, 5, 2), np.float32))


def max_pool(x: "Tensor", window: int) -> "Tensor":
    """What `max_pool2d(x, window, stride=2, ceil_mode=True)` gives, bit for bit, and quicker on a CPU.

    Args:
        x: [B, channels, height, width], both sides at least `window`.
    """
    import torch

    height, width = (-(-(side - window) // 2) * 2 + window for side in x.shape[2:])
    x = torch.nn.functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=-torch.inf)
    rows = [x[:, :, i : height - window + 1 + i : 2] for i in range(window)]
    x = functools.reduce(torch.maximum, rows)
    columns = [x[..., i : width - window + 1 + i : 2] for i in range(window)]
    return functools.reduce(torch.maximum, columns)


def replace_max_pools(network: "nn.Module") -> None:
    """Let a network of the cascade pool with `max_pool`; torch's own takes a third of the cascade's time."""
    from torch import nn

    for pool in network.children():
        if isinstance(pool, nn.MaxPool2d):
            window = int(pool.kernel_size)  # type: ignore[arg-type]
            pool.forward = functools.partial(max_pool, window=window)  # type: ignore[method-assign]


class FaceFinder:
    """Finds faces with a policy on a torch device.

    A frame's faces depend on the other frames of the call by up to 6e-5 pixels; for equal bytes give the
    frames of one clip, and always the same ones, in one call.

    Raises:
        WeightsError: the networks' files are absent or damaged.
    """

    def __init__(self, policy: FacePolicy, device: str = "cpu") -> None:
        import torch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

        self.policy = policy
        self.device = torch.device(device)
        files = checked_files("mtcnn")
        self._networks = []
        with torch.random.fork_rng(devices=[]):  # building draws random numbers, which are not ours to take
            for name, kind in (("pnet.pt", PNet), ("rnet.pt", RNet), ("onet.pt", ONet)):
                network = kind(pretrained=False)
                load_strict(network, read_tensors(files[name]), f"mtcnn {name}")
                if self.device.type == "cpu":
                    replace_max_pools(network)
                self._networks.append(network.eval().to(self.device))

    def find(self, images: Sequence[Image]) -> list[Faces]:
        """Faces of each RGB picture [height, width, 3], by falling probability; of any sizes, in order."""
        found = [no_faces() for _ in images]
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for n, image in enumerate(images):
            height, width = image.shape[:2]
            if self._can_hold_a_face(height, width):
                groups[height, width].append(n)
        for (height, width), members in groups.items():
            size = max(1, PIXELS_AT_ONCE // (height * width))
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                for n, faces in zip(chunk, self._detect([images[n] for n in chunk]), strict=True):
                    found[n] = faces
        return found

    def _can_hold_a_face(self, height: int, width: int) -> bool:
        """Whether facenet's pyramid has a level; it fails on a picture without one."""
        short = min(height, width)
        return short >= SHORTEST_SIDE and short * (12.0 / self.policy.min_face_size) >= 12

    def _detect(self, images: Sequence[Image]) -> list[Faces]:
        import torch
        from facenet_pytorch.models.utils.detect_face import detect_face

        # planes in memory, seen as [B, height, width, 3]: the cascade is quicker on planes
        planes = np.stack([image.transpose(2, 0, 1) for image in images])
        batch = torch.from_numpy(planes).to(self.device).permute(0, 2, 3, 1)
        thresholds, size = list(self.policy.thresholds), self.policy.min_face_size
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            boxes, points = detect_face(batch, size, *self._networks, thresholds, FACTOR, self.device)
        return [self._row(b, p) for b, p in zip(boxes, points, strict=True)]

    def _row(self, boxes: Any, points: Any) -> Faces:
        """A row of the table from facenet's x0, y0, x1, y1, probability [n, 5] and points [n, 5, 2]."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 5)
        points = np.asarray(points, dtype=np.float32).reshape(-1, 5, 2)
        order = np.argsort(-boxes[:, 4], kind="stable")
        order = order[boxes[order, 4] >= self.policy.min_probability]
        return Faces(boxes[order, :4], boxes[order, 4], points[order])
