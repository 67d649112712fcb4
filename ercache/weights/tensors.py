"""Load tensors from a file into a network. The tensors in the file and in the network must match one to one."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ercache.errors import WeightsError
from ercache.weights.container import check_torch_file

if TYPE_CHECKING:
    from torch import Tensor, nn

PARALLEL = "module."  # prefix that torch's DataParallel adds to every name
COUNTER = "num_batches_tracked"  # of batch norms; only training reads it, and old files lack it


def read_tensors(path: Path, inside: str = "") -> dict[str, "Tensor"]:
    """Read the tensors of a checkpoint file. No code in the file is run.

    Args:
        path: a .safetensors file, or a file that `torch.load(weights_only=True)` accepts.
        inside: key of the state dict in the file, such as `model_state_dict`, if the file is a dictionary of several
            objects.

    Returns:
        A dictionary from name to tensor; all tensors are on the CPU.

    Raises:
        WeightsError: the file is not readable, or holds something other than tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path, device="cpu")
        else:
            check_torch_file(path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            loaded = loaded.get(inside) if inside and isinstance(loaded, dict) else loaded
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, because it holds more than tensors ({_first_line(error)}); no code in it was run",
            hint="get a .safetensors file, or convert this one (`ercache weights convert --help`)",
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({_first_line(error)})", hint="download it again"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        where = f" under {inside!r}" if inside else ""
        raise WeightsError(
            f"{path}: the file holds no state dict (dictionary of tensors){where}; check that it is the right file"
        )
    return {str(name): tensor for name, tensor in loaded.items()}


def load_strict(
    network: "nn.Module",
    tensors: Mapping[str, "Tensor"],
    what: str,
    drop: Sequence[str] = (),
    strip: Sequence[str] = (),
    rename: Callable[[str], str] | None = None,
) -> None:
    """Load tensors into a network. The tensors in the file and in the network must match one to one.

    Names in the file are changed in three steps. First, the prefix `module.` and the prefixes in `strip` are removed.
    Second, `rename` translates the name. Third, tensors whose names begin with an entry of `drop` are left out.

    Args:
        network: network that is changed in place.
        tensors: tensors by their names in the file.
        what: name of the checkpoint, for messages.
        drop: beginnings of the names of tensors that the network does not use, such as classification heads.
        strip: prefixes to remove from the names in the file.
        rename: function that translates a name in the file to a name in the network.

    Raises:
        WeightsError: tensors are missing, unexpected or of another shape. The details list all of them.
    """
    given: dict[str, Tensor] = {}
    twice = []
    for name, tensor in tensors.items():
        own = _own_name(name, strip, rename)
        if not own.startswith(tuple(drop)):
            twice += [f"twice: {own}"] if own in given else []
            given[own] = tensor
    wanted = network.state_dict()
    lacking = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    wrong = twice + [f"missing: {name}" for name in lacking]
    wrong += [f"unexpected: {name}" for name in given if name not in wanted]
    wrong += [
        f"shape of {name}: {list(given[name].shape)}, the network has {list(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"checkpoint {what!r} does not fit the network {type(network).__name__}: {len(wrong)} tensors differ",
            details=wrong,
            hint="check that it is the checkpoint of this network",
        )
    counters = {name: wanted[name] for name in wanted if name.endswith(COUNTER)}
    network.load_state_dict({**counters, **given}, strict=True)


def _own_name(name: str, strip: Sequence[str], rename: Callable[[str], str] | None) -> str:
    name = name.removeprefix(PARALLEL)
    for beginning in strip:
        name = name.removeprefix(beginning)
    return rename(name) if rename else name


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
