"""Build a network quickly by skipping its random initialisation, which takes seconds.

Building on `torch.device("meta")` would skip the initialisation, too. But the network would then lack the tables, such
as position encodings, that its constructor computes and no checkpoint holds.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions are recognised by name, because transformers replaces those of torch by wrappers while it builds.
_INITIALISERS = frozenset(
    (
        "uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
        "kaiming_normal_", "orthogonal_", "sparse_", "exponential_", "cauchy_", "log_normal_",
    )
)  # fmt: skip


class _Intercept(TorchFunctionMode):  # the only way to see which functions a constructor calls
    """Replaces torch's random initialisation inside a `with` block: each such call runs `fill(tensor)` instead."""

    def __init__(self, fill: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.fill = fill

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _INITIALISERS:
            tensor = args[0] if args else given["tensor"]
            self.fill(tensor)
            return tensor
        result = func(*args, **given)
        if func in (torch.randn, torch.rand):
            self.fill(result)
        return result


@contextlib.contextmanager
def fast_init(seed: int | None) -> Iterator[None]:
    """Context manager for building a network quickly. Nothing is printed, and torch's random generator stays unchanged.

    Args:
        seed: seed for random weights that are equal on every machine. Matrices are uniform within +-1 / sqrt(number of
            inputs), vectors are 0. If None, the weights stay uninitialised, and a checkpoint must set all of them.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)

    def fill(tensor: Tensor) -> None:
        if generator is not None:
            _fill(tensor, generator)

    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(io.StringIO()),
        _Intercept(fill),
    ):
        yield


def _fill(tensor: Tensor, generator: torch.Generator) -> None:
    with torch.no_grad():
        if tensor.ndim < 2:
            tensor.zero_()
            return
        fan_in = tensor.shape[-1] if len(tensor) == 1 else tensor[0].numel()
        bound = max(fan_in, 1) ** -0.5
        # separate steps, each rounded once: a fused multiply-add would differ between processors
        tensor.uniform_(0, 1, generator=generator).mul_(2 * bound).sub_(bound)
