"""Cues: recognition and prediction of emotions from words, sounds and the relations of words."""

from fusion.models.cues.model import ENTRY

__all__ = ["ENTRY"]
