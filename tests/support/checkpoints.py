"""Tiny checkpoints for tests, entered in the table of checkpoints and added as `ercache weights add` does."""

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
    """Context manager: replace a checkpoint of the table by a tiny one, or add a tiny one.

    Processes started inside the `with` block see it, too. Several of these blocks may be nested with the same folder.

    Args:
        key: key of the checkpoint.
        folder: folder for all files. Inside the block, ERCACHE_WEIGHTS is `folder/weights`.
        tensors: tensors to save as model.safetensors, or the path of a file of tensors.
        files: content of other files by name: a text, an object for JSON, or a path to copy.
        changes: other fields of the table's row.

    Yields:
        Folder that holds the files of the checkpoint.
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
