"""Building a network without the seconds that its library spends on random numbers."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# By name: transformers puts wrappers of its own in the place of torch's functions while it builds.
_DRAWS = frozenset(
    (
        "uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
        "kaiming_normal_", "orthogonal_", "sparse_", "exponential_", "cauchy_", "log_normal_",
    )
)  # fmt: skip


class _Draws(TorchFunctionMode):  # torch's one way to see what is called inside a constructor
    """Hands every tensor that is about to be drawn to `fill` instead."""

    def __init__(self, fill: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.fill = fill

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _DRAWS:
            tensor = args[0] if args else given["tensor"]
            self.fill(tensor)
            return tensor
        result = func(*args, **given)
        if func in (torch.randn, torch.rand):
            self.fill(result)
        return result


@contextlib.contextmanager
def drawn(seed: int | None) -> Iterator[None]:
    """A context for building a network: no chatter, no change of torch's generator, quick or no draws.

    Args:
        seed: matrices are drawn evenly within 1 / sqrt(fan in) and vectors are 0, the same on every machine; None
            leaves them as the memory was, because a checkpoint is about to fill all of them.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)

    def fill(tensor: Tensor) -> None:
        if generator is not None:
            _fill(tensor, generator)

    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(io.StringIO()),
        _Draws(fill),
    ):
        yield


def _fill(tensor: Tensor, generator: torch.Generator) -> None:
    with torch.no_grad():
        if tensor.ndim < 2:
            tensor.zero_()
            return
        fan_in = tensor.shape[-1] if len(tensor) == 1 else tensor[0].numel()
        bound = max(fan_in, 1) ** -0.5
        # whole steps, each exact or rounded once: a fused multiplication would differ between processors
        tensor.uniform_(0, 1, generator=generator).mul_(2 * bound).sub_(bound)
