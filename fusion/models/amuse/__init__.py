"""AMuSE: descriptors of several modalities, mixed for each utterance, speaker and class."""

from fusion.models.amuse.model import ENTRY

__all__ = ["ENTRY"]
