"""Functions that M2FNet's two image encoders (mel spectrograms, pictures) share: build the network and run it."""

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
    """Build M2FNet's image network (ResNet18 and projector) with untrained weights.

    Its size is fixed, so `config` and `tensors`, which other encoders need for this, are not used.
    """
    from ercache.nets.m2fnet import Extractor

    return Extractor()


def width_of(embed: Embed) -> int:
    """Return how many values an embedding has: 512 after the ResNet18 (`encoder`), 300 after the projector (`z`)."""
    return 300 if embed == "z" else 512


def embed_images(network: "Extractor", images: NDArray[np.uint8], embed: Embed, device: str) -> FloatArray:
    """Run N images, RGB bytes [N, side, side, 3], through M2FNet's image network and return their embeddings.

    These are the outputs of the ResNet18, [N, 512], with `embed` `encoder`, or those of the projector after it,
    [N, 300], with `embed` `z`.
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
