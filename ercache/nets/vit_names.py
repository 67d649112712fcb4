"""Names of a vision transformer's tensors, without loading torch."""

import re
from typing import Final

# Names in the published files of ViT and in transformers 5.
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
    """The name in transformers 5 of a tensor of a published ViT."""
    for old, new in _NAMES:
        name = re.sub(old, new, name)
    return name
