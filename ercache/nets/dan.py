"""DAN ("Distract Your Attention"): recognises facial expressions with several cross attention heads (Wen et al., 2021).

Tensors have the names in the authors' code (github.com/yaoing/DAN), so that all tensors of their checkpoints fit.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

HEADS: Final = 4
WIDTH: Final = 512


class DanOutput(NamedTuple):
    """Output of DAN for B faces.

    Attributes:
        features: feature map of the ResNet18 trunk, [B, 512, 7, 7].
        heads: vectors of the four attention heads, [B, 4, 512], after a log-softmax that compares the four heads; all
            values are at most 0.
        logits: scores of the C emotions, [B, C].
    """

    features: Tensor
    heads: Tensor
    logits: Tensor


class SpatialAttention(nn.Module):
    """Spatial attention: multiplies each position of a feature map by a weight from 3x3, 1x3 and 3x1 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1x1 = _normed(nn.Conv2d(WIDTH, 256, 1))
        self.conv_3x3 = _normed(nn.Conv2d(256, WIDTH, 3, padding=1))
        self.conv_1x3 = _normed(nn.Conv2d(256, WIDTH, (1, 3), padding=(0, 1)))
        self.conv_3x1 = _normed(nn.Conv2d(256, WIDTH, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply all channels at each position of a feature map by the attention weight of the position.

        Args:
            x: feature map of B faces, [B, 512, h, w]: 512 channels, height h, width w.

        Returns:
            Weighted map, [B, 512, h, w].
        """
        y = self.conv1x1(x)
        y = torch.relu(self.conv_3x3(y) + self.conv_1x3(y) + self.conv_3x1(y))
        return x * y.sum(1, keepdim=True)


class ChannelAttention(nn.Module):
    """Channel attention: averages each channel of a feature map, and multiplies the mean by a learned weight."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, WIDTH), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Average each channel of a feature map over all positions, and multiply the mean by its attention weight.

        Args:
            x: feature map of B faces, [B, 512, h, w]: 512 channels, height h, width w.

        Returns:
            Weighted channel means, [B, 512].
        """
        pooled = x.mean((2, 3))
        weighed: Tensor = pooled * self.attention(pooled)
        return weighed


class CrossAttentionHead(nn.Module):
    """One attention head of DAN: turns a feature map into a vector by spatial attention, then channel attention."""

    def __init__(self) -> None:
        super().__init__()
        self.sa = SpatialAttention()
        self.ca = ChannelAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Summarise a feature map as one vector: spatial attention over positions, then channel attention.

        Args:
            x: feature map of B faces, [B, 512, h, w]: 512 channels, height h, width w.

        Returns:
            Vector of this head for each face, [B, 512].
        """
        head: Tensor = self.ca(self.sa(x))
        return head


class DAN(nn.Module):
    """DAN: facial expression network with four cross attention heads; 19,723,733 parameters for 7 classes.

    Args:
        classes: number of emotions, 7 (AffectNet-7, RAF-DB) or 8 (AffectNet-8).

    Source: Wen, Lin, Wang and Xu, "Distract Your Attention", figure 2. In the paper's terms, `features` is the feature
    clustering network, the heads are the multi-head attention network, and their log-softmax is the attention fusion
    network.
    """

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(resnet18(weights=None).children())[:-2])
        for n in range(HEADS):
            self.add_module(f"cat_head{n}", CrossAttentionHead())
        self.fc = nn.Linear(WIDTH, classes)
        self.bn = nn.BatchNorm1d(classes)

    def forward(self, x: Tensor) -> DanOutput:
        """Compute the emotion logits of B face crops, and also the features from which they are computed.

        Args:
            x: face crops, normalised with ImageNet mean and standard deviation, [B, 3, 224, 224].

        Returns:
            Three tensors: feature map, vectors of the attention heads, and logits; see `DanOutput`.
        """
        features = self.features(x)
        heads = torch.stack([self.get_submodule(f"cat_head{n}")(features) for n in range(HEADS)], 1)
        heads = heads.log_softmax(1)
        return DanOutput(features, heads, self.bn(self.fc(heads.sum(1))))


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
