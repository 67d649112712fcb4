"""What affects feature values besides params: library versions, device, precision, threads, exact arithmetic."""

import contextlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from ercache.params.schema import EngineParams

# Their versions are recorded with every feature; what only one encoder uses stands in its `EncoderSpec.libraries`.
LIBRARIES = (
    "torch",
    "numpy",
    "librosa",
    "scikit-image",
    "transformers",
    "tokenizers",
    "simplemma",
    "facenet-pytorch",
    "av",
    "soxr",
)


def environment_of(device: str, engine: EngineParams, libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Return the library versions, device, precision and threads, all of which affect the values of features.

    The dict is recorded in the provenance of each cache file.

    Args:
        device: name of the torch device.
        engine: engine parameters of params.yaml; they give the precision and the number of threads.
        libraries: libraries that one encoder uses, besides those whose versions are always recorded.
    """
    return {
        "versions": {name: version(name) for name in (*LIBRARIES, *libraries)},
        "python": ".".join(platform.python_version_tuple()[:2]),
        "device": device.split(":")[0],
        "precision": engine.precision,
        "threads": engine.threads,
    }


def exact_arithmetic(threads: int) -> None:
    """Make torch compute in full float32 (without TF32), and give equal results for equal input.

    Does nothing if torch has not been imported yet.

    Args:
        threads: number of CPU threads that torch uses.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def autocast(device: str, precision: str) -> Any:
    """Return a context manager in which networks compute with the given precision; for float32 it does nothing.

    Args:
        device: name of the torch device.
        precision: name of a torch floating-point type, for example `bfloat16`.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    import torch

    return torch.autocast(device.split(":")[0], dtype=getattr(torch, precision))


def out_of_memory() -> tuple[type[BaseException], ...]:
    """Return the types of exceptions that are raised when the memory of the machine or of the GPU is used up."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
