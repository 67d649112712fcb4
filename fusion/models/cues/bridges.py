"""Second fusion step of Cues: short trainable bridges between frozen layers of BERT and ViT (Eq. 3 to 6)."""

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from ercache.errors import WeightsError
from ercache.nets.upper_layers import UpperLayers

# checkpoints of both networks, their width, heads and number of layers
SIZES: Final[dict[str, dict[str, Any]]] = {
    "large": {"bert": "bert-large", "vit": "vit-large-in21k", "width": 1024, "heads": 16, "depth": 24},
    "base": {"bert": "bert-base", "vit": "vit-base-in21k", "width": 768, "heads": 12, "depth": 12},
}


class Bridges(nn.Module):
    """Blocks that pass messages between the text-audio features (F_ta) and the picture of the mel spectrogram (F_m).

    Each block has one frozen layer of BERT (for F_ta) and of ViT (for F_m). A bridge is a few trained tokens that carry
    a message from one layer to the other. Only the bridges and their linear maps are trained.

    Args:
        width: width of F_ta; if the frozen layers have another width, a linear map comes first.
        size: size of BERT and ViT, `large` or `base`.
        blocks: number of blocks.
        length: number of tokens of a bridge.
        direction: direction of the messages: `m2ta` (mel to text-audio), `ta2m` (text-audio to mel) or `both`.
        layers: whether the blocks use the `last` or the `first` layers of BERT and ViT.
        share: use the same bridges in all blocks.
        lower: whether ViT's lower layers have already processed F_m. If not, the blocks use the first layers of ViT,
            whatever `layers` says.
    """

    def __init__(
        self,
        width: int,
        size: str,
        blocks: int,
        length: int,
        direction: Literal["both", "m2ta", "ta2m"] = "both",
        layers: Literal["last", "first"] = "last",
        share: bool = False,
        lower: bool = True,
    ) -> None:
        super().__init__()
        about = SIZES[size]
        self.size, self.length, self.direction, self.heads = size, length, direction, about["heads"]
        self.width, depth = about["width"], about["depth"]
        first, last = tuple(range(blocks)), tuple(range(depth - blocks, depth))
        sizes = (self.width, about["heads"], depth)
        self.language = UpperLayers("bert", *sizes, last if layers == "last" else first)
        self.vision = UpperLayers("vit", *sizes, last if layers == "last" and lower else first)
        self.enter = nn.Linear(width, self.width) if width != self.width else nn.Identity()
        ways = {"both": ("m2ta", "ta2m"), "m2ta": ("m2ta",), "ta2m": ("ta2m",)}[direction]
        pairs = 1 if share else blocks
        self.bridges = nn.ParameterDict(
            {way: nn.Parameter(0.02 * torch.randn(pairs, length, self.width)) for way in ways}
        )
        self.maps = nn.ModuleDict(
            {way: nn.ModuleList(_map(self.width) for _ in range(blocks)) for way in ways}
        )

    def load(self) -> None:
        """Load the frozen layers of BERT and ViT from their checkpoints.

        Raises:
            WeightsError: a checkpoint is missing or damaged. The hint names a switch that avoids this checkpoint.
        """
        for network, kind in ((self.language, "bert"), (self.vision, "vit")):
            try:
                network.load(SIZES[self.size][kind])
            except WeightsError as error:
                hint = f"{error.hint}; or omit the second fusion step with the switch `mfm_blocks: 0`"
                raise WeightsError(error.message, details=error.details, hint=hint) from error

    def forward(self, F_ta: Tensor, ta_mask: Tensor, F_m: Tensor, m_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Update text-audio features and mel picture in all blocks, one after the other.

        Args:
            F_ta: text-audio features of N windows, [N, T, width]: T steps.
            ta_mask: bool [N, T]; mask of F_ta.
            F_m: ViT states of the mel picture, [N, 197, W]: the class token and 196 patches; W is the width of the
                frozen layers.
            m_mask: bool [N, 197]; mask of F_m.

        Returns:
            Two tensors: updated F_ta, [N, T, W]; updated F_m after ViT's final norm, [N, 197, W].
        """
        F_ta = self.enter(F_ta)
        for b in range(len(self.language.numbers)):
            F_ta, F_m = self._block(b, F_ta, ta_mask, F_m, m_mask)
        return F_ta, self.vision.layernorm(F_m)

    def _block(
        self, b: int, F_ta: Tensor, ta_mask: Tensor, F_m: Tensor, m_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        T, P = F_ta.shape[1], F_m.shape[1]
        own = ta_mask.new_ones(len(ta_mask), self.length)
        ta_keys, m_keys = torch.cat([ta_mask, own], 1), torch.cat([m_mask, own], 1)

        def language(bridge: Tensor) -> Tensor:
            y: Tensor = self.language(self.language.numbers[b], torch.cat([F_ta, bridge], 1), ta_keys)
            return y

        def vision(bridge: Tensor) -> Tensor:
            y: Tensor = self.vision(self.vision.numbers[b], torch.cat([F_m, bridge], 1), m_keys)
            return y

        after_ta, after_m = F_ta, F_m
        if "m2ta" in self.maps:
            message = vision(self._bridge("m2ta", b, F_m))  # (3)
            after_ta = language(self.maps["m2ta"][b](message[:, P:]))[:, :T]  # type: ignore[index]  # (4)
            after_m = message[:, :P]
        if "ta2m" in self.maps:
            message = language(self._bridge("ta2m", b, F_ta))  # (5)
            after_m = vision(self.maps["ta2m"][b](message[:, T:]))[:, :P]  # type: ignore[index]  # (6)
            after_ta = after_ta if "m2ta" in self.maps else message[:, :T]
        return after_ta, after_m

    def _bridge(self, way: str, b: int, like: Tensor) -> Tensor:
        held = self.bridges[way]
        bridge: Tensor = held[min(b, len(held) - 1)].expand(len(like), -1, -1)
        return bridge


def _map(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width))
