"""Cues: emotion recognition and prediction from words, speech and a picture of the mel spectrogram."""

from fusion.models.cues.model import ENTRY

__all__ = ["ENTRY"]
