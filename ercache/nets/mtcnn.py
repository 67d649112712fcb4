"""The three networks of MTCNN (Zhang, Zhang, Li and Qiao, 2016), and the choice among overlapping boxes.

Tensors have facenet-pytorch's names, so that its weights fit. The networks are not imported from that package, because
it imports torchvision: that takes over two seconds and 140 MB in every process that looks for faces.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

TOGETHER_CPU, TOGETHER_GPU = 1_000, 25_000  # boxes; for more of them, one picture after the other is faster


class _Cascade(nn.Module):
    """Convolutions `conv1`, `conv2`, ..., each with a PReLU, and some with max pooling after it.

    Args:
        steps: channels and kernel size of each convolution, and the size of the max pooling after it (stride 2); 0 for
            no pooling.
    """

    def __init__(self, *steps: tuple[int, int, int]) -> None:
        super().__init__()
        channels = 3
        for number, (width, kernel, _) in enumerate(steps, 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, width, kernel))
            self.add_module(f"prelu{number}", nn.PReLU(width))
            channels = width
        self._pools = [pool for _, _, pool in steps]

    def maps(self, pictures: Tensor) -> Tensor:
        """Return the feature maps [B, channels, height, width] of B pictures [B, 3, height, width]."""
        for number, pool in enumerate(self._pools, 1):
            pictures = self.get_submodule(f"prelu{number}")(self.get_submodule(f"conv{number}")(pictures))
            if pool:
                pictures = max_pool2d(pictures, pool, 2, ceil_mode=True)
        return pictures


class PNet(_Cascade):
    """Finds places where a face of 12 x 12 pixels may be."""

    def __init__(self) -> None:
        super().__init__((10, 3, 2), (16, 3, 0), (32, 3, 0))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Look at every second place of B pictures [B, 3, height, width] with values from -1 to 1.

        Returns:
            Two maps: corrections of the box's corners as shares of its side [B, 4, rows, columns], and the
                probabilities of no face and of a face [B, 2, rows, columns].
        """
        maps = self.maps(pictures)
        return self.conv4_2(maps), self.conv4_1(maps).softmax(1)


class RNet(_Cascade):
    """Says of a crop of 24 x 24 pixels whether it holds a face."""

    def __init__(self) -> None:
        super().__init__((28, 3, 3), (48, 3, 3), (64, 2, 0))
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Classify n crops [n, 3, 24, 24] with values from -1 to 1.

        Returns:
            Two arrays: corrections of the box's corners as shares of its sides [n, 4], and the probabilities of no
                face and of a face [n, 2].
        """
        found = self.prelu4(self.dense4(_flat(self.maps(crops))))
        return self.dense5_2(found), self.dense5_1(found).softmax(1)


class ONet(_Cascade):
    """Says of a crop of 48 x 48 pixels whether it holds a face, and where eyes, nose and mouth are."""

    def __init__(self) -> None:
        super().__init__((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0))
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = (nn.Linear(256, n) for n in (2, 4, 10))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify n crops [n, 3, 48, 48] with values from -1 to 1.

        Returns:
            Three arrays: corrections of the box's corners as shares of its sides [n, 4]; five points as shares of the
                sides, first their x, then their y [n, 10]; and the probabilities of no face and of a face [n, 2].
        """
        found = self.prelu5(self.dense5(_flat(self.maps(crops))))
        return self.dense6_2(found), self.dense6_3(found), self.dense6_1(found).softmax(1)


def _flat(maps: Tensor) -> Tensor:
    """Flatten feature maps in the order of the authors' weights: columns, rows, channels."""
    return maps.permute(0, 3, 2, 1).flatten(1)


def non_maximum_suppression(boxes: Tensor, scores: Tensor, owner: Tensor, overlap: float) -> Tensor:
    """Leave out each box that overlaps a better box of the same picture too much.

    Args:
        boxes: corners x0, y0, x1, y1 of n boxes in pixels, [n, 4].
        scores: scores of the boxes, [n].
        owner: index of the picture of each box, [n].
        overlap: largest intersection over union of two boxes that are kept.

    Returns:
        Indices of the kept boxes, the highest score first.
    """
    if not len(boxes):
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    suppress = _operator()
    boxes, scores = boxes.double(), scores.double()  # boxes of different pictures lie far apart below
    if len(boxes) <= (TOGETHER_CPU if boxes.device.type == "cpu" else TOGETHER_GPU):
        # The boxes of each picture are moved to a place of their own, far from those of all other pictures.
        kept: Tensor = suppress(boxes + (owner.to(boxes) * (boxes.max() + 1))[:, None], scores, overlap)
        return kept
    best = torch.zeros_like(scores, dtype=torch.bool)
    for picture in range(int(owner.max()) + 1):
        members = (owner == picture).nonzero()[:, 0]
        best[members[suppress(boxes[members], scores[members], overlap)]] = True
    kept = best.nonzero()[:, 0]
    return kept[scores[kept].sort(descending=True)[1]]


@cache
def _operator() -> Callable[..., Any]:
    """Load torchvision's operator `nms` from its library, without importing the package."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.submodule_search_locations
    (library,) = Path(next(iter(spec.submodule_search_locations))).glob("_C.*")
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    operator: Callable[..., Any] = torch.ops.torchvision.nms
    return operator
