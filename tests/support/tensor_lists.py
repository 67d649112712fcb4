"""Read lists of the authors' tensors with their shapes. Braces in a name stand for several tensors."""

import itertools
import re
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

FOLDER = Path(__file__).parent / "nets"


def listed(name: str, group: str = "tensors") -> dict[str, list[int]]:
    """Read a list from nets/. Return the shape of every tensor, by name."""
    told: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    assert told["repository"].startswith("https://github.com/") and len(told["commit"]) == 40
    return {each: shape for names, shape in told[group].items() for each in expanded(names)}


def expanded(names: str) -> list[str]:
    """Expand the braces in a name: `a.{0..2}.{b,c}` gives six names."""
    parts = re.split(r"\{(.*?)\}", names)
    choices = [[part] if n % 2 == 0 else _choices(part) for n, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(part: str) -> list[str]:
    if ".." not in part:
        return part.split(",")
    first, last = part.split("..")
    return [str(n) for n in range(int(first), int(last) + 1)]


def shapes(network: nn.Module) -> dict[str, list[int]]:
    """Shape of every tensor of a network, by name."""
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters())


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give the batch norms of a network random values, and switch it to eval mode.

    Freshly initialised norms change nothing, so a test would not notice a missing or wrong norm.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return network.eval()
