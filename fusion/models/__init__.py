"""The fusion models: one file or folder for each model.

`MODELS` maps the key of a model (its name in params.yaml) to its registry entry. Model files import torch, which takes
time: looking up one key imports only that model; listing all entries imports all models.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from ercache.registry import Registry

if TYPE_CHECKING:
    from fusion.models.base import ModelEntry


def _faults(entry: Any) -> list[str]:
    from fusion.models.base import faults_of  # which loads torch

    return faults_of(entry)


MODELS: "Final[Registry[ModelEntry]]" = Registry(
    "fusion.models", "ercache.models", lambda entry: entry.key, _faults, by_file=True
)


def configs() -> Mapping[str, type[BaseModel]]:
    """Return the config class of every model: key of the model -> pydantic class with the model's switches."""
    return MODELS.mapped(lambda entry: entry.config)
