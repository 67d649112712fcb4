"""Random seeds, number of threads and deterministic kernels: equal settings give equal results, bit for bit."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

SMALL_MODEL = 2_000_000


def set_seeds(seed: int) -> None:
    """Seed the random generators of python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def threads_for(model: nn.Module) -> int:
    """Number of CPU threads for training a model: 1 for a small model, for which more threads would be slower.

    A larger model gets torch's default number of threads.
    """
    size = sum(p.numel() for p in model.parameters())
    return 1 if size < SMALL_MODEL else torch.get_num_threads()


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Context manager: use only deterministic kernels and a fixed number of threads. Afterwards, restore the old
    settings.

    torch's deterministic mode also fills new tensors with NaN, to help debugging. This filling is switched off here:
    no result depends on it, and it took a quarter of the time of training a ResNet18 on a CPU.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # cuBLAS refuses to be deterministic without it
    filled: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        filled.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True)
    filled.fill_uninitialized_memory = False
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
        filled.fill_uninitialized_memory = before[2]


def random_states() -> dict[str, Any]:
    """Read the states of all random generators: python, numpy, torch on the CPU, and torch on each GPU."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set all random generators to the states that `random_states` returned earlier."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
