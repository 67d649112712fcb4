"""From a file to a network: tensors only, and every one of them accounted for."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ercache.errors import WeightsError
from ercache.weights.container import check_torch_file

if TYPE_CHECKING:
    from torch import Tensor, nn

PARALLEL = "module."  # put before every name by torch's DataParallel
COUNTER = "num_batches_tracked"  # of batch norms: read in training only, and absent in old files


def read_tensors(path: Path, inside: str = "") -> dict[str, "Tensor"]:
    """The tensors of a checkpoint file, on the CPU; nothing in the file is ever executed.

    Args:
        path: a .safetensors file, or what `torch.load(weights_only=True)` accepts.
        inside: key of the state dict when a file of torch holds a dict around it (`model_state_dict`).

    Raises:
        WeightsError: not readable, or it holds more than tensors.
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
            f"{path}: refused, it is no plain file of tensors ({_first_line(error)}); nothing of it was run",
            hint="get it as .safetensors, or convert it (`ercache weights convert --help`)",
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle fails in any way that Python has
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({_first_line(error)})", hint="get it again"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        where = f" under {inside!r}" if inside else ""
        raise WeightsError(f"{path}: holds no state dict of tensors{where}")
    return {str(name): tensor for name, tensor in loaded.items()}


def load_strict(
    network: "nn.Module",
    tensors: Mapping[str, "Tensor"],
    what: str,
    drop: Sequence[str] = (),
    strip: Sequence[str] = (),
    rename: Callable[[str], str] | None = None,
) -> None:
    """Put tensors into a network; every tensor of both sides must have its partner.

    Names lose `module.`, then what `strip` lists, then go through `rename`; `drop` is looked at last.

    Args:
        what: name of the checkpoint, for the error.
        drop: beginnings of names that the network is known not to use (heads, old buffers).
        strip: beginnings that names lose.
        rename: from a name of the file to the network's.

    Raises:
        WeightsError: names every missing, unexpected and misshapen tensor.
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
            f"checkpoint {what!r} does not fit {type(network).__name__}: {len(wrong)} tensors",
            details=wrong,
            hint="is it the checkpoint of this network?",
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
