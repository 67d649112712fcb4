"""The encoders, by key: `text/`, `audio/` and `visual/` have a file for each network, with its entry at the end.

Importing an encoder imports no torch, transformers, librosa or scikit-image: encoders do so when built or run.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from ercache.registry import Registry
from extract.encoders.base import EncoderKind, faults_of

ENCODERS: Final = Registry[EncoderKind](
    "extract.encoders", "ercache.encoders", lambda kind: kind.spec.key, faults_of
)


def configs() -> Mapping[str, type[BaseModel]]:
    """Encoder key -> class of its params, for the check of params.yaml."""
    return ENCODERS.mapped(lambda kind: kind.Params)
