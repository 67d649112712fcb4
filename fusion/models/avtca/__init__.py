"""AVT-CA: classifies single clips from audio and video, fused by transformers and cross-attention."""

from fusion.models.avtca.model import ENTRY

__all__ = ["ENTRY"]
