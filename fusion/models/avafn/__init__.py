"""AVAFN: pairwise cross-attention of text, sound and faces, and a weighted fusion of what it gives."""

from fusion.models.avafn.model import ENTRY

__all__ = ["ENTRY"]
