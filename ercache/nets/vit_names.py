"""Translate tensor names of vision transformers (ViT). This module does not import torch."""

import re
from typing import Final

# Patterns of names in published ViT files, and their replacements in transformers 5.
_NAMES: Final = (
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def vit_name(name: str) -> str:
    """Translate the name of a tensor in a published ViT checkpoint to its name in transformers 5."""
    for old, new in _NAMES:
        name = re.sub(old, new, name)
    return name
