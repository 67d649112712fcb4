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


def network_of(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "Extractor":
    """Build the image network of M2FNet with untrained weights.

    `config` and `tensors` are ignored: the network has a fixed size.
    """
    from ercache.nets.m2fnet import Extractor

    return Extractor()


def width_of(embed: Embed) -> int:
    """Return how many values an embedding has: 300 after the projector (`z`) or 512 before it (`encoder`)."""
    return 300 if embed == "z" else 512


def embed_images(network: "Extractor", images: NDArray[np.uint8], embed: Embed, device: str) -> FloatArray:
    """Return the embeddings of N images, [N, 300] after the projector (`z`) or [N, 512] before it (`encoder`).

    The images are RGB bytes, [N, side, side, 3].
    """
    import torch

    from ercache.nets.m2fnet import normalised

    forward = network if embed == "z" else network.encode
    with torch.inference_mode():
        parts = [
            forward(normalised(part.to(device))).float().cpu()
            for part in torch.split(torch.from_numpy(images), IMAGES_AT_ONCE)
        ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)
