"""Download published checkpoints, check that their files are undamaged, and load them into networks.

Three rules hold. First, a file is used only if its sha256 is the published one. If none is published, it must be the
sha256 that was recorded when the file was added. Second, a network is loaded only if the tensors in the file and in the
network match one to one. Third, no code in a file is run.
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
