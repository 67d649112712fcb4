"""The AMuSE model: fuses words, video frames and audio segments, then adds dialogue and speaker context."""

from fusion.models.amuse.model import ENTRY

__all__ = ["ENTRY"]
