"""Cues: recognition and prediction from words with their relations, speech with prosody, and a mel picture."""

from fusion.models.cues.model import ENTRY

__all__ = ["ENTRY"]
