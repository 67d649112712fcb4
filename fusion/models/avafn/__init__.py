"""AVAFN: cross-attention between audio and video, then context, speaker, listener and emotion states."""

from fusion.models.avafn.model import ENTRY

__all__ = ["ENTRY"]
