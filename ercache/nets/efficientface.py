"""EfficientFace, a small network for facial expressions (Zhao, Liu and Zhou, AAAI 2021), without its classifier.

Tensors have the names in the authors' code (github.com/zengqunzhao/EfficientFace). All tensors of their checkpoints
fit, except for those of the classifier `fc`, which are not used. AVT-CA's video branch uses the same blocks.
"""

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

SIDE: Final = 224
WIDTH: Final = 1024


class InvertedResidual(nn.Module):
    """Building block of ShuffleNet v2: two branches, each of which yields one half of the output channels.

    With stride 1, which needs i = o, the first branch passes the first half of the input channels on unchanged, and the
    second branch convolves the second half. With stride 2, both branches convolve all input channels. At the end, the
    channels of the two branches are interleaved.

    Args:
        i, o: number of input and of output channels.
        stride: 1 keeps the size of the feature map, 2 halves it.
    """

    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        half = o // 2
        self.stride = stride
        if stride == 2:
            self.branch1 = nn.Sequential(*_depthwise(i, i, stride), *_pointwise(i, half), nn.ReLU())
        self.branch2 = nn.Sequential(
            *_pointwise(i if stride == 2 else half, half),
            nn.ReLU(),
            *_depthwise(half, half, stride),
            *_pointwise(half, half),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform feature maps by two branches of convolutions, and interleave the output channels of the branches.

        Args:
            x: feature maps of B pictures, [B, i, h, w]: i channels, height h, width w.

        Returns:
            Feature maps with o channels, [B, o, h / stride, w / stride].
        """
        left, right = (self.branch1(x), x) if self.stride == 2 else x.chunk(2, 1)
        return shuffled(torch.cat([left, self.branch2(right)], 1))


def shuffled(x: Tensor) -> Tensor:
    """Interleave the first and the second half of the channels: channels 0, 1, 2, 3, 4, 5 become 0, 3, 1, 4, 2, 5.

    Args:
        x: feature maps of B pictures, [B, C, h, w]: C channels, height h, width w.
    """
    halves = x.reshape(len(x), 2, x.shape[1] // 2, *x.shape[2:])
    return halves.transpose(1, 2).flatten(1, 2)


class LocalFeatureExtractor(nn.Module):
    """Computes local features of a face: convolves each quarter of a feature map with weights of its own.

    Args:
        i, o: number of input and of output channels.
        stride: stride of the first convolution of each branch.
    """

    def __init__(self, i: int, o: int, stride: int = 2) -> None:
        super().__init__()
        for n in range(1, 5):
            for step, (channels, by) in enumerate([(i, stride), (o, 1)], 1):
                convolution, norm = _depthwise(channels, o, by)
                self.add_module(f"conv{n}_{step}", convolution)
                self.add_module(f"bn{n}_{step}", norm)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the four quarters (upper left to lower right) of a feature map separately, and join the results.

        Args:
            x: feature maps of B pictures, [B, i, h, w]: i channels, height h, width w.

        Returns:
            Feature maps with o channels, [B, o, h / stride, w / stride].
        """
        left, right = x.chunk(2, 3)
        quarters = [*left.chunk(2, 2), *right.chunk(2, 2)]  # 11, 21, 12, 22 of the paper
        a, b, c, d = (self._branch(n, quarter) for n, quarter in enumerate(quarters, 1))
        return torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 3)

    def _branch(self, n: int, x: Tensor) -> Tensor:
        for step in (1, 2):
            x = self.get_submodule(f"bn{n}_{step}")(self.get_submodule(f"conv{n}_{step}")(x)).relu()
        return x


class ChannelAttention(nn.Module):
    """Computes one attention weight per channel of a feature map: channel means, then two linear layers."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            gate_c_fc_0=nn.Linear(channels, hidden),
            gate_c_bn_1=nn.BatchNorm1d(hidden),
            gate_c_relu_1=nn.ReLU(),
            gate_c_fc_final=nn.Linear(hidden, channels),
        )
        self.gate_c = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute one attention weight per channel from the means of all channels over their positions.

        Args:
            x: feature maps of B pictures, [B, c, h, w]: c channels, height h, width w.

        Returns:
            Weights [B, c, 1, 1]. `Modulator` applies the sigmoid later.
        """
        weights: Tensor = self.gate_c(x.mean((2, 3)))
        return weights[:, :, None, None]


class SpatialAttention(nn.Module):
    """Computes one attention weight per position of a feature map, by two dilated convolutions."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            gate_s_conv_reduce0=nn.Conv2d(channels, hidden, 1),
            gate_s_bn_reduce0=nn.BatchNorm2d(hidden),
            gate_s_relu_reduce0=nn.ReLU(),
        )
        for n in range(2):
            layers[f"gate_s_conv_di_{n}"] = nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4)
            layers[f"gate_s_bn_di_{n}"] = nn.BatchNorm2d(hidden)
            layers[f"gate_s_relu_di_{n}"] = nn.ReLU()
        layers["gate_s_conv_final"] = nn.Conv2d(hidden, 1, 1)
        self.gate_s = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute one attention weight per position of a feature map.

        Args:
            x: feature maps of B pictures, [B, c, h, w]: c channels, height h, width w.

        Returns:
            Weights [B, 1, h, w]. `Modulator` applies the sigmoid later.
        """
        weights: Tensor = self.gate_s(x)
        return weights


class Modulator(nn.Module):
    """Emphasises the important channels and positions of a feature map, by channel attention and spatial attention."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channel_att = ChannelAttention(channels, hidden)
        self.spatial_att = SpatialAttention(channels, hidden)

    def scores(self, x: Tensor) -> Tensor:
        """Compute the attention score of each channel and position: channel weight times spatial weight.

        Args:
            x: feature maps of B pictures, [B, c, h, w]: c channels, height h, width w.

        Returns:
            Scores [B, c, h, w], to which no sigmoid has been applied yet.
        """
        product: Tensor = self.channel_att(x) * self.spatial_att(x)
        return product

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a feature map by the sigmoid of its attention scores (channel weight times spatial weight).

        Args:
            x: feature maps of B pictures, [B, c, h, w]: c channels, height h, width w.

        Returns:
            Weighted map, [B, c, h, w].
        """
        return self.scores(x).sigmoid() * x


class EfficientFace(nn.Module):
    """Turns face crops into feature vectors: a facial expression network without its classifier; 1,268,118 parameters.

    Source: Zhao, Liu and Zhou, "Robust Lightweight Facial Expression Recognition Network with Label Distribution
    Training", figure 2; sizes in docs/papers/avtca.md, section 4.13.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 29, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(29), nn.ReLU()
        )
        self.stage2 = stage(29, 116, 4)
        self.stage3 = stage(116, 232, 8)
        self.stage4 = stage(232, 464, 4)
        self.local = LocalFeatureExtractor(29, 116)
        self.modulator = Modulator(116, 116 // 16)
        self.conv5 = nn.Sequential(*_pointwise(464, WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Turn B face crops into feature vectors.

        Args:
            x: face crops, [B, 3, 224, 224].

        Returns:
            Feature vectors, [B, 1024].

        Raises:
            ValueError: the crops have another size. The four quarters of the local branch would then show other areas
                of the face than in training.
        """
        if x.shape[2:] != (SIDE, SIDE):
            raise ValueError(
                f"EfficientFace takes pictures of {SIDE} x {SIDE} pixels, not {tuple(x.shape[2:])}; resize the crops"
            )
        stem = nn.functional.max_pool2d(self.conv1(x), 3, stride=2, padding=1)  # [B, 29, 56, 56]
        x = self.modulator(self.stage2(stem)) + self.local(stem)
        pooled: Tensor = self.conv5(self.stage4(self.stage3(x))).mean((2, 3))
        return pooled


def stage(i: int, o: int, units: int) -> nn.Sequential:
    """Build a stage of the network: one block that halves the height and width of the feature map, then blocks that do
    not change them.

    Args:
        i, o: number of input channels and of output channels.
        units: number of blocks.
    """
    return nn.Sequential(InvertedResidual(i, o, 2), *(InvertedResidual(o, o, 1) for _ in range(units - 1)))


def _depthwise(i: int, o: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(i, o, 3, stride, padding=1, groups=i, bias=False), nn.BatchNorm2d(o)


def _pointwise(i: int, o: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o)
