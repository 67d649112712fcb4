"""The fusion models: one file for each, or a folder if the paper needs several.

`MODELS` maps a key to the model's entry. Model files import torch: looking up one key imports only that model, listing
all entries imports all models.
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
    """Key -> config class, for `ercache.params.load.load_params`."""
    return MODELS.mapped(lambda entry: entry.config)
