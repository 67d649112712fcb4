"""AMuSE: words, frames and audio segments, mixed by a closed-form rule, with dialogue and speaker context."""

from fusion.models.amuse.model import ENTRY

__all__ = ["ENTRY"]
