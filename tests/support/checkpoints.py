"""Tiny checkpoints for tests, registered in the catalogue and added as `ercache weights add` does."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ercache import weights
from ercache.digests import digest_of_file
from ercache.weights import FOLDER_VARIABLE, Checkpoint, WeightFile


@contextmanager
def tiny_checkpoint(
    key: str,
    folder: Path,
    tensors: Mapping[str, Tensor] | Path,
    files: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Iterator[Path]:
    """Replace a checkpoint of the catalogue, or add one, until the context ends.

    Processes started inside see it, too. Several nest with the same folder.

    Args:
        folder: for everything; ERCACHE_WEIGHTS points to `folder/weights` meanwhile.
        tensors: saved as model.safetensors, or a file of tensors.
        files: name -> text, object for JSON, or a path to copy.
        changes: to the row.

    Returns:
        Where its files lie.
    """
    brought = folder / "brought" / key
    brought.mkdir(parents=True, exist_ok=True)
    if isinstance(tensors, Path):
        own = tensors
    else:
        own = brought / "model.safetensors"
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, own)
    paths = [own, *(_written(brought / name, content) for name, content in (files or {}).items())]
    pinned = tuple(WeightFile(path.name, digest_of_file(path)) for path in paths)
    blank = Checkpoint(key, "brought", "made by a test", "1", pinned, "MIT")
    row = replace(
        weights.checkpoints().get(key, blank), kind="brought", files=pinned, source=blank.source, published=""
    )
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder / "weights")
    try:
        with weights.extra_checkpoints(replace(row, **changes)):
            weights.add(key, paths)
            yield folder / "weights" / key
    finally:
        os.environ.pop(FOLDER_VARIABLE)
        if before is not None:
            os.environ[FOLDER_VARIABLE] = before


def _written(path: Path, content: Any) -> Path:
    if isinstance(content, Path):
        path.write_bytes(content.read_bytes())
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
