"""The video network of AVT-CA: turns each face crop into a vector (Algorithms 1 to 5), with blocks of EfficientFace."""

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.nets.efficientface import (
    WIDTH,
    EfficientFace,
    InvertedResidual,
    LocalFeatureExtractor,
    Modulator,
)
from ercache.weights import Weights

LITERAL: Final = 232  # width of the vector with exactly the blocks that the paper lists
MEAN: Final = (0.55391484, 0.43522123, 0.3821877)  # of AffectNet, RGB
DEVIATION: Final = (0.24837189, 0.21625527, 0.20221159)
TURN: Final = 10  # greatest rotation in degrees


class FaceFrames(nn.Module):
    """Network that turns M face crops [M, 3, 224, 224] into vectors [M, 1024], or [M, 232] if `literal`.

    Args:
        literal: build exactly the blocks of Algorithm 10 in the paper, instead of the whole EfficientFace.
        gate: how channel attention c and spatial attention s act on the feature map G. `sigmoid`: sigmoid(c s) G.
            `raw`: only c s, without G.
        channel_att: use channel attention; otherwise c is 1.
        spatial_att: use spatial attention; otherwise s is 1.
        lfe: use the local feature extractor; otherwise its features are 0.
    """

    def __init__(
        self,
        literal: bool = False,
        gate: Literal["sigmoid", "raw"] = "sigmoid",
        channel_att: bool = True,
        spatial_att: bool = True,
        lfe: bool = True,
    ) -> None:
        super().__init__()
        self.gate, self.parts = gate, (channel_att, spatial_att, lfe)
        self.net: Any = nn.Module() if literal else EfficientFace()
        if literal:
            self.net.conv1 = nn.Conv2d(3, 29, 3, stride=2, padding=1)  # no norm, no ReLU: Algorithm 1
            self.net.modulator = Modulator(29, 7)
            self.net.local = LocalFeatureExtractor(29, 29, stride=1)
            self.net.stage3 = InvertedResidual(29, 116, 2)
            self.net.stage4 = InvertedResidual(116, LITERAL, 2)
        if not lfe:
            del self.net.local
        modulator: Any = self.net.modulator
        if not channel_att:
            del modulator.channel_att
        if not spatial_att:
            del modulator.spatial_att
        self.width = LITERAL if literal else WIDTH

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors [M, width] of M face crops x [M, 3, 224, 224]."""
        net = self.net
        stem = F.max_pool2d(net.conv1(x), 3, stride=2, padding=1)  # F, [M, 29, 56, 56]
        G = net.stage2(stem) if hasattr(net, "stage2") else stem
        E = self.gated(G) + (net.local(stem) if self.parts[2] else 0)
        E = net.stage4(net.stage3(E))
        vector: Tensor = (net.conv5(E) if hasattr(net, "conv5") else E).mean((2, 3))
        return vector

    def gated(self, G: Tensor) -> Tensor:
        """Weigh a feature map by channel and spatial attention (section 4.3).

        Args:
            G: feature maps of M faces, [M, channels, height, width].
        """
        channel, spatial, _ = self.parts
        if not channel and not spatial:
            return G
        modulator = self.net.modulator
        scores = G.new_ones(1)
        if channel:
            scores = scores * modulator.channel_att(G)
        if spatial:
            scores = scores * modulator.spatial_att(G)
        return scores.sigmoid() * G if self.gate == "sigmoid" else scores.expand_as(G)

    def load(self, checkpoint: str) -> None:
        """Load the weights of an EfficientFace checkpoint; weights of blocks that are switched off are skipped.

        Raises:
            WeightsError: the checkpoint is missing, damaged or from another network.
        """
        found = Weights(checkpoint).network(EfficientFace, inside="state_dict", drop=("fc.",)).state_dict()
        own = self.net.state_dict()
        self.net.load_state_dict({name: found[name] for name in own})


def scale_pixels(crops: Tensor) -> Tensor:
    """Convert pictures [..., height, width, 3] with values 0 to 255 to [..., 3, height, width] with values 0 to 1."""
    return crops.float().movedim(-1, -3) / 255


def normalize_frames(x: Tensor, affectnet: bool, bgr: bool) -> Tensor:
    """Normalise pictures for the face network.

    Args:
        x: RGB pictures [..., 3, height, width] with values 0 to 1.
        affectnet: standardise with mean and standard deviation of AffectNet.
        bgr: return the colours in the order blue, green, red.
    """
    if affectnet:
        mean, deviation = (x.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        x = (x - mean) / deviation
    return x.flip(-3) if bgr else x


def augment_frames(clips: Tensor) -> Tensor:
    """Augment training clips: mirror half of them, and rotate each by a random angle.

    The angle is a whole number of degrees, -10 to 10. All frames of a clip are changed in the same way.

    Args:
        clips: N clips of T frames, [N, T, 3, height, width].
    """
    n, t = clips.shape[:2]
    mirrored = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    angle = torch.deg2rad(torch.randint(-TURN, TURN + 1, (n,)).float())
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
    rows = [torch.stack([mirrored * cos, -sin, zero], 1), torch.stack([mirrored * sin, cos, zero], 1)]
    theta = torch.stack(rows, 1).to(clips.device).repeat_interleave(t, 0)
    flat = clips.flatten(0, 1)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="bilinear", align_corners=False).view(clips.shape)
