"""Tiny checkpoints of the visual networks in the files that are published, with random tensors, and clips to encode."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray
from skimage import data
from torch import Tensor, nn
from torchvision.models import resnet18
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from ercache.nets.dan import DAN
from ercache.nets.efficientface import EfficientFace
from ercache.nets.jaa_net import PARTS, JaaNet
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.base import Encoder, Sample
from extract.media.types import Faces, Frame
from tests.support.checkpoints import tiny_checkpoint

FACE = (170.0, 60.0, 280.0, 190.0)
POINTS = ((205.0, 110.0), (248.0, 108.0), (230.0, 135.0), (208.0, 155.0), (246.0, 154.0))
TINY_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TINY_CLIP: dict[str, Any] = {
    "vision_config": {**TINY_VIT, "patch_size": 32, "projection_dim": 16},
    "text_config": {**TINY_VIT, "vocab_size": 99, "projection_dim": 16},
    "projection_dim": 16,
}

PHOTO: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]


def found(*boxes: tuple[float, ...], points: Any = POINTS) -> Faces:
    """Detected faces of one picture with these boxes. Every face has the same five landmarks."""
    n = len(boxes)
    probabilities = np.linspace(0.99, 0.95, n, dtype=np.float32)
    marks = np.tile(np.array(points, np.float32), (n, 1, 1))
    return Faces(np.array(boxes, np.float32).reshape(n, 4), probabilities, marks)


def clip(count: int, *faces: Faces) -> Sample:
    """Make a clip of different pictures. The faces belong to the pictures in order; by default, all are the same."""
    rows = faces or (found(FACE),) * count
    images = [np.ascontiguousarray(np.roll(PHOTO, n, axis=1)) for n in range(count)]
    return Sample(frames=tuple(Frame(n / 5, i, f) for n, (i, f) in enumerate(zip(images, rows, strict=True))))


@dataclass(frozen=True)
class Published:
    """A network in memory, and its checkpoint on disk."""

    network: Any
    weights: Weights


@dataclass
class Shelf:
    """A dictionary of checkpoints. Each one is made when it is first needed."""

    folder: Path
    stack: ExitStack
    made: dict[str, Published] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Published:
        if name not in self.made:
            torch.manual_seed(len(self.made))
            network, tensors, files = MAKERS[name](self.folder)
            self.stack.enter_context(tiny_checkpoint(f"own-{name}", self.folder, tensors, files))
            self.made[name] = Published(network, Weights(f"own-{name}"))
        return self.made[name]

    def encoder(self, key: str, name: str, **params: Any) -> Encoder:
        """Build an encoder with the checkpoint of this name."""
        kind = ENCODERS[key]
        return kind(kind.Params(**params), "cpu", self[name].weights)


@contextmanager
def shelf(folder: Path) -> Iterator[Shelf]:
    """Context manager: an empty dictionary of checkpoints that are made when needed."""
    with ExitStack() as stack:
        yield Shelf(folder, stack)


def lively(network: nn.Module) -> nn.Module:
    """Give the batch norms of a network random statistics, so that a test notices a wrong or forgotten norm."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network.eval()


def _saved(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    torch.save(content, path)
    return path


def _dan(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    network = lively(DAN())
    content = {"iter": 6, "model_state_dict": network.state_dict(), "optimizer_state_dict": {"state": {}}}
    return network, _saved(folder, "dan.pth", content), {}


def _efficientface(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    network = lively(EfficientFace())
    head = nn.Linear(1024, 7).state_dict(prefix="fc.")
    return network, {f"module.{k}": v for k, v in {**network.state_dict(), **head}.items()}, {}


def _jaa_net(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    parts = {name: lively(kind()) for name, kind in PARTS.items()}
    with torch.no_grad():
        parts["align_net"].align_output[1].bias.uniform_(20, 150)  # type: ignore[index,union-attr]
    heads = nn.ModuleList(nn.Sequential(nn.Linear(4000, 64), nn.Linear(64, 2)) for _ in range(12))
    paths = []
    for name, part in parts.items():
        second = heads.state_dict(prefix="local_aus_output.") if name == "local_au_net" else {}
        paths.append(_saved(folder, f"{name}.pth", {**part.state_dict(), **second}))
    network = JaaNet(**parts).eval()  # type: ignore[arg-type]
    return network, paths[0], {path.name: path for path in paths[1:]}


def _facenet(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    network = lively(InceptionResnetV1(pretrained=None))
    head = nn.Linear(512, 3).state_dict(prefix="logits.")
    return network, _saved(folder, "facenet.pt", {**network.state_dict(), **head}), {}


def _resnet18(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    network = lively(resnet18(weights=None))
    old = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    path = _saved(folder, "resnet18.pth", old)
    headless = copy.deepcopy(network)
    headless.fc = nn.Identity()
    return headless, path, {}


def _vit(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    from tests.support.tiny_audio import older_vit

    config = {**TINY_VIT, "hidden_size": 768}  # the encoder declares its width
    network = ViTModel(ViTConfig.from_dict(config), add_pooling_layer=True).eval()
    return network, {older_vit(k): v for k, v in network.state_dict().items()}, {"config.json": config}


def _clip(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    config = copy.deepcopy(TINY_CLIP)
    config["vision_config"] |= {"hidden_size": 768, "projection_dim": 512}
    config["text_config"] |= {"projection_dim": 512}
    config["projection_dim"] = 512
    network = CLIPModel(CLIPConfig.from_dict(config)).eval()
    positions: dict[str, Tensor] = {"vision_model.embeddings.position_ids": torch.arange(50)[None]}
    return network, {**network.state_dict(), **positions}, {"config.json": config}


MAKERS: dict[str, Any] = {
    "clip": _clip,
    "dan": _dan,
    "efficientface": _efficientface,
    "facenet": _facenet,
    "jaa-net": _jaa_net,
    "resnet18": _resnet18,
    "vit": _vit,
}
