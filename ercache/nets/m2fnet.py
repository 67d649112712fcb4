"""The audio and visual feature extractor of M2FNet: a ResNet18 and a linear projector, trained by metric learning.

Source: docs/papers/m2fnet.md, section 4.1.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn
from torchvision.models import resnet18

from ercache.weights import load_strict

ENCODED: Final = 512
EMBEDDED: Final = 300  # the paper's "number of representations", read as the projector's width (R2)
MEAN: Final = (0.485, 0.456, 0.406)  # ImageNet, RGB
STD: Final = (0.229, 0.224, 0.225)


class Extractor(nn.Module):
    """M2FNet's feature extractor for images: a ResNet18 gives encodings e, and a projector gives z = W e + b.

    It has 11,330,412 parameters. The same architecture is used for mel images, faces and scenes. Images may have any
    size, because the ResNet18 averages over all positions.

    Source: M2FNet, section 3.3; the sizes are those of docs/papers/m2fnet.md, section 4.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = resnet18(weights=None)
        self.encoder.fc = nn.Identity()
        self.projector = nn.Linear(ENCODED, EMBEDDED)

    def encode(self, images: Tensor) -> Tensor:
        """Turn images into encodings e by the ResNet18, without the projector.

        Args:
            images: B images of height H and width W, normalised by the function `normalised`, [B, 3, H, W].

        Returns:
            Encodings e of the images, [B, 512].
        """
        encoded: Tensor = self.encoder(images)
        return encoded

    def forward(self, images: Tensor) -> Tensor:
        """Turn images into embeddings z by the ResNet18 and the projector.

        Args:
            images: B images of height H and width W, normalised by the function `normalised`, [B, 3, H, W].

        Returns:
            Embeddings z of the images, [B, 300].
        """
        embedded: Tensor = self.projector(self.encode(images))
        return embedded


def start_from_imagenet(extractor: Extractor, tensors: Mapping[str, Tensor]) -> None:
    """Load torchvision's ResNet18 weights (IMAGENET1K_V1) into the encoder, as the start of its training.

    The projector keeps its random initialisation.

    Args:
        extractor: network that is changed in place.
        tensors: tensors of torchvision's checkpoint, by name.

    Raises:
        WeightsError: the tensors belong to another network.
    """
    load_strict(extractor.encoder, tensors, "resnet18", drop=("fc.",))


def normalised(images: Tensor) -> Tensor:
    """Normalise images for the network, with the mean and standard deviation of ImageNet.

    Args:
        images: B RGB images of height H and width W, bytes, [B, H, W, 3].

    Returns:
        Normalised images, float32, [B, 3, H, W].
    """
    scaled = images.permute(0, 3, 1, 2).float() / 255
    mean, std = (scaled.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (scaled - mean) / std
