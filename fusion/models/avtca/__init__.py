"""AVT-CA: audio and video of single clips, fused by transformers and cross-attention."""

from fusion.models.avtca.model import ENTRY

__all__ = ["ENTRY"]
