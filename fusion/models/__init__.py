"""The fusion models, one file each: key -> entry with config, presets and builder.

Model files load torch, so each is imported when its entry is first asked for; listing the keys costs nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from fusion.models.base import ModelEntry

# fusion/models/<key>.py, each with an ENTRY
MODULES = (
    "majority",
    "copy_last",
    "logistic",
    "concat",
    "bc_lstm",
    "transformer",
    "dialogue_rnn",
    "mmgcn",
    "m2fnet",
    "avafn",
    "avtca",
    "cues",
    "amuse",
)

V = TypeVar("V")


class _Lazy(Mapping[str, V]):
    """A mapping over the model files whose values are made when they are asked for."""

    def __init__(self, value: Callable[["ModelEntry"], V]) -> None:
        self._value = value

    def __getitem__(self, key: str) -> V:
        if key not in MODULES:
            raise KeyError(key)
        return self._value(import_module(f"fusion.models.{key}").ENTRY)

    def __contains__(self, key: object) -> bool:
        return key in MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


MODELS: Mapping[str, "ModelEntry"] = _Lazy(lambda entry: entry)


def configs() -> Mapping[str, type[BaseModel]]:
    """Key -> class of the config, for `ercache.params.load.load_params`."""
    return _Lazy(lambda entry: entry.config)
