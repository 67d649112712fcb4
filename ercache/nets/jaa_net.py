"""JAA-Net: face alignment and facial action units learnt jointly (Shao, Liu, Cai and Ma, IJCV 2021).

The authors publish six checkpoint files (github.com/ZhiwenShao/PyTorch-JAANet). This module has one network class for
each file, with the same tensor names, so that all tensors of the file fit. In version 2 of their code, every branch of
`local_au_net` has an additional head that only the loss uses. Its tensors (`UNUSED`) are not loaded, so that files of
both versions fit.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

AUS: Final = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)  # action units of BP4D, in the order of the outputs
SIDE: Final = 176
MAP: Final = 44  # side of the attention maps
WIDTH: Final = 512
UNIT: Final = 8
LANDMARKS: Final = 49
UNUSED: Final = "local_aus_output."
RIM: Final = 4  # pixels that four convolutions without padding remove on each side
REACH: Final = 0.14  # radius of an attention map, as a share of the map's side
FALL: Final = 0.56  # decrease of attention from the centre to the edge

# Two centres per action unit: a landmark, and how far below it, in eye distances (the authors' rules for BP4D).
_CENTRES: Final[tuple[tuple[tuple[int, float], tuple[int, float]], ...]] = (
    ((4, -1 / 2), (5, -1 / 2)),
    ((1, -1 / 3), (8, -1 / 3)),
    ((2, 1 / 3), (7, 1 / 3)),
    ((24, 1), (29, 1)),
    ((21, 0), (26, 0)),
    ((43, 0), (45, 0)),
    *[((31, 0.0), (37, 0.0))] * 3,
    ((39, 1 / 2), (41, 1 / 2)),
    *[((34, 0.0), (40, 0.0))] * 2,
)
_EYES: Final = (22, 25)  # inner corners


class JaaOutput(NamedTuple):
    """Output of JAA-Net for B faces.

    Attributes:
        hidden: output of the first layer of the joint head, [B, 512].
        probabilities: probability that each of the 12 action units in `AUS` is present, [B, 12].
        landmarks: x and y of 49 landmarks, in pixels of the face crop, [B, 49, 2].
    """

    hidden: Tensor
    probabilities: Tensor
    landmarks: Tensor


class LocalConvolution(nn.Module):
    """Convolves each of n x n tiles of a feature map with weights of its own: batch norm, ReLU, 3 x 3 convolution.

    Args:
        tiles: number n of tiles per side.
        i, o: number of input and of output channels.
    """

    def __init__(self, tiles: int, i: int, o: int) -> None:
        super().__init__()
        self.tiles = tiles
        self.bns = nn.ModuleList(nn.BatchNorm2d(i) for _ in range(tiles**2))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for _ in range(tiles**2))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each tile of a feature map separately, and put the tiles back together.

        Args:
            x: feature map of B faces, [B, i, h, w]: i channels, height h, width w.

        Returns:
            Feature map with o channels, [B, o, h, w].
        """
        tiles = [tile for row in x.chunk(self.tiles, 2) for tile in row.chunk(self.tiles, 3)]
        done = [c(b(t).relu()) for t, b, c in zip(tiles, self.bns, self.convs, strict=True)]
        rows = [torch.cat(done[n : n + self.tiles], 3) for n in range(0, len(done), self.tiles)]
        return torch.cat(rows, 2)


class RegionLayer(nn.Module):
    """Hierarchical multi-scale region layer: one convolution of the whole feature map, then three in tiles.

    These three cut the map into 8 x 8, 4 x 4 and 2 x 2 tiles and have different weights for each tile.

    Args:
        i, o: number of input and of output channels.
    """

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.local_conv_branch1 = LocalConvolution(8, o, o // 2)
        self.local_conv_branch2 = LocalConvolution(4, o // 2, o // 4)
        self.local_conv_branch3 = LocalConvolution(2, o // 4, o // 4)
        self.bn = nn.BatchNorm2d(o)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a feature map as a whole, then three times in tiles, from small to large tiles.

        The outputs of the three convolutions in tiles are concatenated and added to the output of the first one.

        Args:
            x: feature map of B faces, [B, i, h, w]: i channels, height h, width w.

        Returns:
            Feature map with o channels, [B, o, h, w].
        """
        x = self.conv(x)
        first = self.local_conv_branch1(x)
        second = self.local_conv_branch2(first)
        local = torch.cat([first, second, self.local_conv_branch3(second)], 1)
        output: Tensor = self.bn(x + local).relu()
        return output


class RegionLearning(nn.Module):
    """First network of JAA-Net: computes region features of a face. Checkpoint file: `region_learning`."""

    def __init__(self) -> None:
        super().__init__()
        self.multiscale_feat = nn.Sequential(
            RegionLayer(3, 4 * UNIT), nn.MaxPool2d(2), RegionLayer(4 * UNIT, 8 * UNIT), nn.MaxPool2d(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute region features of B faces: feature maps for which each tile of the face had weights of its own.

        Args:
            x: aligned faces, [B, 3, 176, 176].

        Returns:
            Region features, [B, 64, 44, 44].
        """
        features: Tensor = self.multiscale_feat(x)
        return features


class FeatureBranch(nn.Module):
    """Six convolutions with pooling on the region features of a face. Checkpoint file: `global_au_feat`.

    The networks AlignNet and LocalFeatures contain such branches, too.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        i = 8 * UNIT
        for o in (12 * UNIT, 16 * UNIT, 20 * UNIT):
            layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
            layers += [nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
            i = o
        self.feat_extract = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Turn the region features of B faces into smaller feature maps, by six convolutions with pooling.

        Args:
            x: region features, [B, 64, 44, 44].

        Returns:
            Features, [B, 160, 5, 5].
        """
        features: Tensor = self.feat_extract(x)
        return features


class AlignNet(nn.Module):
    """Face alignment: predicts landmarks from region features. Checkpoint file: `align_net`."""

    def __init__(self) -> None:
        super().__init__()
        self.align_feat = FeatureBranch()
        self.align_output = nn.Sequential(nn.Linear(4000, WIDTH), nn.Linear(WIDTH, 2 * LANDMARKS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict 49 landmarks of each of B faces from the region features.

        Args:
            x: region features, [B, 64, 44, 44].

        Returns:
            Two tensors: alignment features, [B, 160, 5, 5]; x and y of the landmarks in pixels of the crop, [B, 49, 2].
        """
        features = self.align_feat(x)
        landmarks: Tensor = self.align_output(features.flatten(1))
        return features, landmarks.view(-1, LANDMARKS, 2)


class AttentionRefinement(nn.Module):
    """Refines the attention maps that `attention_maps` draws for each action unit, by convolutions of its own.

    Checkpoint file: `local_attention_refine`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.local_aus_attention = nn.ModuleList(self._branch() for _ in AUS)

    @staticmethod
    def _branch() -> nn.Sequential:
        layers: list[nn.Module] = []
        i, o = 1, 8 * UNIT
        for _ in range(3):
            layers += [nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU()]
            i = o
        return nn.Sequential(*layers, nn.Conv2d(o, 1, 3), nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        """Refine the predefined attention maps of B faces by four convolutions for each action unit.

        Args:
            maps: predefined attention, one map for each of 12 action units, [B, 12, 52, 52].

        Returns:
            Refined attention maps, values 0 to 1, [B, 12, 44, 44].
        """
        refined = [branch(maps[:, n : n + 1]) for n, branch in enumerate(self.local_aus_attention)]
        return torch.cat(refined, 1)


class LocalFeatures(nn.Module):
    """Computes features of the face areas in which action units show. Checkpoint file: `local_au_net`.

    There is one branch for each of 12 action units. Its input is the region features times the attention map of the
    action unit. The output is the mean of the 12 branches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.local_aus_branch = nn.ModuleList(FeatureBranch() for _ in AUS)

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """Compute local features of B faces: the mean of twelve feature branches, one for each action unit.

        Args:
            features: region features, [B, 64, 44, 44].
            maps: refined attention, one map per action unit, [B, 12, 44, 44].

        Returns:
            Features, averaged over the branches, [B, 160, 5, 5].
        """
        branches = enumerate(self.local_aus_branch)
        return torch.stack([branch(features * maps[:, n : n + 1]) for n, branch in branches]).mean(0)


class JointHead(nn.Module):
    """Computes from all features of a face which action units are present. Checkpoint file: `au_net`."""

    def __init__(self) -> None:
        super().__init__()
        self.au_output = nn.Sequential(nn.Linear(3 * 4000, WIDTH), nn.Linear(WIDTH, 2 * len(AUS)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict for each of 12 action units of B faces whether it is present.

        Args:
            x: alignment, global and local features, joined and flattened, [B, 12000].

        Returns:
            Two tensors: output of the hidden layer, [B, 512]; log-probability of "absent" and of "present" for each
            action unit, [B, 2, 12].
        """
        hidden = self.au_output[0](x)
        return hidden, self.au_output[1](hidden).unflatten(1, (2, len(AUS))).log_softmax(1)


class JaaNet(nn.Module):
    """The whole of JAA-Net, built from the six networks of `PARTS`.

    Source: Shao et al., "JAA-Net: Joint Facial Action Unit Detection and Face Alignment via Adaptive Attention", figure
    2. The joint head takes alignment, global and local features, in this order.
    """

    def __init__(
        self,
        region_learning: RegionLearning,
        align_net: AlignNet,
        local_attention_refine: AttentionRefinement,
        local_au_net: LocalFeatures,
        global_au_feat: FeatureBranch,
        au_net: JointHead,
    ) -> None:
        super().__init__()
        self.region_learning = region_learning
        self.align_net = align_net
        self.local_attention_refine = local_attention_refine
        self.local_au_net = local_au_net
        self.global_au_feat = global_au_feat
        self.au_net = au_net

    def forward(self, x: Tensor) -> JaaOutput:
        """Detect the facial action units and the landmarks of B faces.

        Args:
            x: aligned faces, values in [-1, 1], [B, 3, 176, 176].

        Returns:
            Three tensors: hidden layer, probabilities of the action units, and landmarks; see `JaaOutput`.
        """
        regions = self.region_learning(x)
        aligned, landmarks = self.align_net(regions)
        maps = self.local_attention_refine(attention_maps(landmarks))
        local = self.local_au_net(regions, maps)
        joined = torch.cat([aligned, self.global_au_feat(regions), local], 1).flatten(1)
        hidden, chances = self.au_net(joined)
        return JaaOutput(hidden, chances[:, 1].exp(), landmarks)


PARTS: Final[dict[str, type[nn.Module]]] = {  # by the names of the authors' files
    "region_learning": RegionLearning,
    "align_net": AlignNet,
    "local_attention_refine": AttentionRefinement,
    "local_au_net": LocalFeatures,
    "global_au_feat": FeatureBranch,
    "au_net": JointHead,
}


def au_centres(landmarks: Tensor) -> Tensor:
    """Find the two points of the face that are the centres of each of 12 action units, from the landmarks of B faces.

    Args:
        landmarks: x and y of 49 landmarks in pixels, [B, 49, 2].

    Returns:
        x and y of the two centres of each action unit, in pixels, [B, 12, 2, 2].
    """
    eye_distance = (landmarks[:, _EYES[0], 0] - landmarks[:, _EYES[1], 0]).abs()  # [B]
    numbers = torch.tensor([[n for n, _ in pair] for pair in _CENTRES], device=landmarks.device)
    below = landmarks.new_tensor([[shift for _, shift in pair] for pair in _CENTRES])  # [12, 2]
    centres = landmarks[:, numbers].clone()
    centres[..., 1] += eye_distance[:, None, None] * below
    return centres


def attention_maps(landmarks: Tensor) -> Tensor:
    """Draw the predefined attention map of each action unit of B faces, from the landmarks.

    Attention is highest at the two centres of an action unit, and falls with the city-block distance from them, down to
    0 outside a fixed radius. A centre may lie outside the map; the positions within its radius still get attention.

    Args:
        landmarks: x and y of 49 landmarks in pixels of the crop, [B, 49, 2].

    Returns:
        One map for each of 12 action units, values 0 to 1, [B, 12, 52, 52].
    """
    side = MAP + 2 * RIM
    reach = round((side - 1) / 2 * REACH)
    centres = (au_centres(landmarks) * (side / SIDE)).round()[..., None]  # [B, 12, 2, 2, 1]
    places = torch.arange(side, device=landmarks.device, dtype=landmarks.dtype)
    low = (centres - reach).clamp(0, side - 1)
    high = (centres + reach).clamp(0, side - 1)
    inside = (places >= low) & (places <= high)  # [B, 12, 2 centres, x or y, 52]
    distance = (places - centres).abs()
    both = inside[..., 1, :, None] & inside[..., 0, None, :]  # [B, 12, 2, 52, 52]: rows are y
    fall = (distance[..., 1, :, None] + distance[..., 0, None, :]) * (FALL / (side * REACH))
    attention = torch.where(both, (1 - fall).clamp(min=0), 0)
    return attention.amax(2)
