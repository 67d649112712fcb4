"""The registry of encoders: a table from the key of an encoder, such as `audio/mfcc`, to its class.

The files in `text/`, `audio/` and `visual/` contain the encoders, each with its registry entry at the end of the file.
Large packages such as torch, transformers and librosa are imported only when an encoder is built or run.
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
    """Return a dict from encoder key (such as `audio/mfcc`) to the class that checks its params in params.yaml."""
    return ENCODERS.mapped(lambda kind: kind.Params)
