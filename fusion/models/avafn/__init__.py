"""AVAFN: cross-attention between audio and video, then GRU states of context, speaker, listeners and emotion."""

from fusion.models.avafn.model import ENTRY

__all__ = ["ENTRY"]
