"""The registry of encoders.

`text/`, `audio/` and `visual/` have one file per network, with its registry entry at the end. Importing an encoder does
not import torch, transformers, librosa or scikit-image. They are imported when the encoder is built or run.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from ercache.registry import Registry
from extract.encoders.base import EncoderKind, missing_parts

ENCODERS: Final = Registry[EncoderKind](
    "extract.encoders", "ercache.encoders", lambda kind: kind.spec.key, missing_parts
)


def configs() -> Mapping[str, type[BaseModel]]:
    """Return a dict from encoder key to the class of the encoder's params. It is used to check params.yaml."""
    return ENCODERS.mapped(lambda kind: kind.Params)
