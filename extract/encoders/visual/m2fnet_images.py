"""Functions that both image encoders of M2FNet use: build the network, and run images through it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from extract.media.types import FloatArray

if TYPE_CHECKING:
    from ercache.nets.m2fnet import Extractor

SIZES: Final = {"paper": 224, "small": 112, "tiny": 64}  # name of a size -> side of the images, pixels
IMAGES_AT_ONCE: Final = 64  # images in one batch

Embed = Literal["z", "encoder"]


def network_of(config: Mapping[str, Any]) -> "Extractor":
    """Build the image network of M2FNet from its config. The architecture is the same in every training run."""
    from ercache.nets.m2fnet import Extractor

    return Extractor()


def width_of(embed: Embed) -> int:
    """Return the width of an embedding: after the projector (`z`, 300) or before it (`encoder`, 512)."""
    return 300 if embed == "z" else 512


def embed_images(network: "Extractor", images: NDArray[np.uint8], embed: Embed, device: str) -> FloatArray:
    """Return the embeddings, [N, 300] or [N, 512], of RGB images [N, side, side, 3] (bytes)."""
    import torch

    from ercache.nets.m2fnet import normalised

    forward = network if embed == "z" else network.encode
    with torch.inference_mode():
        parts = [
            forward(normalised(part.to(device))).float().cpu()
            for part in torch.split(torch.from_numpy(images), IMAGES_AT_ONCE)
        ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)
