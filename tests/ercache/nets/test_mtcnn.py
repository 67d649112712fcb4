"""MTCNN's networks are those of facenet-pytorch, and its choice among boxes is torchvision's, without its import."""

import subprocess
import sys

import pytest
import torch
from facenet_pytorch.models import mtcnn as theirs
from torch import nn
from torchvision.ops import batched_nms

from ercache.nets import mtcnn as ours


@pytest.mark.parametrize(("name", "side"), [("PNet", 40), ("RNet", 24), ("ONet", 48)])
def test_networks_equal_those_of_facenet_pytorch(name: str, side: int) -> None:
    reference: nn.Module = getattr(theirs, name)(pretrained=True).eval()
    network: nn.Module = getattr(ours, name)()
    network.load_state_dict(reference.state_dict())
    pictures = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        for own, expected in zip(network(pictures), reference(pictures), strict=True):
            assert torch.equal(own, expected)


@pytest.mark.parametrize("count", [0, 1, 300, ours.TOGETHER_CPU, ours.TOGETHER_CPU + 1, 3000])
def test_the_same_boxes_are_kept_as_by_torchvision(count: int) -> None:
    random = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, generator=random, dtype=torch.float64) * 300
    boxes = torch.cat([corners, corners + 5 + 60 * torch.rand(count, 2, generator=random)], 1)
    scores = torch.rand(count, generator=random, dtype=torch.float64)
    owner = torch.randint(0, 5, (count,), generator=random)
    kept = ours.non_maximum_suppression(boxes, scores, owner, 0.5)
    assert torch.equal(kept, batched_nms(boxes, scores, owner, 0.5))
    rounded = ours.non_maximum_suppression(boxes.float(), scores.float(), owner, 0.5)
    assert torch.equal(rounded, batched_nms(boxes.float().double(), scores.float().double(), owner, 0.5))
    assert count < 2 or 0 < len(kept) < count


def test_faces_are_found_without_the_import_of_torchvision() -> None:
    code = (
        "import sys, numpy as np\n"
        "from ercache.params.schema import FacePolicy\n"
        "from extract.faces.mtcnn import FaceFinder\n"
        "FaceFinder(FacePolicy()).find([np.zeros((90, 120, 3), np.uint8)])\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
