"""AVT-CA: a clip of sound, faces and text, each attending to the others."""

from fusion.models.avtca.model import ENTRY

__all__ = ["ENTRY"]
