"""The fusion models: a file each, or a folder where a paper needs several; key -> entry with config and builder.

Model files load torch: the entry of a key imports that model alone, the list of all keys imports all of them.
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
    """Key -> class of the config, for `ercache.params.load.load_params`."""
    return MODELS.mapped(lambda entry: entry.config)
