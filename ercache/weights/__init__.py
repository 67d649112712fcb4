"""Checkpoints: where each one comes from, whether it is here and undamaged, and how it gets into a network.

A file counts only when its sha256 is the pinned one (or, where nobody has published it, the one that was recorded when
the file was first taken in); a network takes it only when every tensor is accounted for; nothing in it is executed.
"""

from ercache.weights.checkpoint import Checkpoint, WeightFile
from ercache.weights.convert import convert
from ercache.weights.fetch import fetch
from ercache.weights.folder import (
    FOLDER_VARIABLE,
    WeightStatus,
    checked_files,
    provenance,
    status,
    weights_folder,
)
from ercache.weights.handle import Weights
from ercache.weights.ingest import add
from ercache.weights.table import checkpoint, checkpoints, extra_checkpoints
from ercache.weights.tensors import load_strict, read_tensors

__all__ = [
    "FOLDER_VARIABLE",
    "Checkpoint",
    "WeightFile",
    "WeightStatus",
    "Weights",
    "add",
    "checked_files",
    "checkpoint",
    "checkpoints",
    "convert",
    "extra_checkpoints",
    "fetch",
    "load_strict",
    "provenance",
    "read_tensors",
    "status",
    "weights_folder",
]
