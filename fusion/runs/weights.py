"""Reads and writes the model weights and feature statistics (mean, deviation) of each seed, as safetensors files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ercache.digests import canonical_json
from ercache.errors import UsageError
from fusion.data.batches import Statistics

MODEL_FILE: Final = "model.safetensors"
STATISTICS_FILE: Final = "statistics.safetensors"


def write_weights(folder: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write the model weights of one seed to the seed's folder.

    Args:
        folder: folder of the seed; created if it is missing.
        state: name of a weight -> tensor.
        about: facts about the weights, such as seed and epoch, which the file keeps as metadata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # One key only: safetensors has no fixed order for several, and equal runs must have equal bytes.
    metadata = {"ercache": canonical_json(about)}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / MODEL_FILE, metadata)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """Write the feature statistics (mean and standard deviation, for z-scores) of a run to a seed's folder."""
    tensors = {f"{kind}.{m}": v for kind, values in vars(statistics).items() for m, v in values.items()}
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / STATISTICS_FILE)


def read_statistics(folder: Path) -> Statistics | None:
    """Read the feature statistics (mean, deviation) from a seed's folder; None if the features were not z-scored."""
    path = folder / STATISTICS_FILE
    if not path.is_file():
        return None
    tensors = read_tensors(path)
    mean, std = (
        {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{kind}.")}
        for kind in ("mean", "std")
    )
    return Statistics(mean, std)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file: name -> tensor.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", hint="train the experiment again") from error
    return tensors


def cpu_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model as tensors on the CPU: name -> tensor."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}
