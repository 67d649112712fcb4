"""Cues' second fusion step: short trainable bridges between frozen layers of language and vision (Equations 3 to 6)."""

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from ercache.errors import WeightsError
from ercache.nets.upper_layers import UpperLayers

# checkpoints of both sides, width, heads, layers of the whole networks
SIZES: Final[dict[str, dict[str, Any]]] = {
    "large": {"bert": "bert-large", "vit": "vit-large-in21k", "width": 1024, "heads": 16, "depth": 24},
    "base": {"bert": "bert-base", "vit": "vit-base-in21k", "width": 768, "heads": 12, "depth": 12},
}


class Bridges(nn.Module):
    """Blocks that pass what speech and text say to the mel picture and back; only bridges and their maps are trained.

    Args:
        width: of F_ta on entry; where the frozen layers are of another width, a linear map leads to it.
        blocks: layers of both networks, their last ones or their first ones.
        length: rows of a bridge.
        direction: which of the two ways exists.
        share: one pair of bridges for all blocks.
        lower: the picture comes out of the vision network's lower layers; else it meets that network's first ones.
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
        """Take the frozen layers from their checkpoints.

        Raises:
            WeightsError: one is absent or damaged; tells of the switch that does without.
        """
        for network, kind in ((self.language, "bert"), (self.vision, "vit")):
            try:
                network.load(SIZES[self.size][kind])
            except WeightsError as error:
                hint = f"{error.hint}; or leave the second fusion step out with the switch `mfm_blocks: 0`"
                raise WeightsError(error.message, details=error.details, hint=hint) from error

    def forward(self, F_ta: Tensor, valid: Tensor, F_m: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides after all blocks.

        Args:
            F_ta: [N, T, width], valid bool [N, T]; F_m: [N, 197, width of the frozen layers], drawn bool [N, 197].

        Returns:
            [N, T, W] and [N, 197, W], the second after the norm of its network.
        """
        F_ta = self.enter(F_ta)
        for b in range(len(self.language.numbers)):
            F_ta, F_m = self._block(b, F_ta, valid, F_m, drawn)
        return F_ta, self.vision.layernorm(F_m)

    def _block(
        self, b: int, F_ta: Tensor, valid: Tensor, F_m: Tensor, drawn: Tensor
    ) -> tuple[Tensor, Tensor]:
        T, P = F_ta.shape[1], F_m.shape[1]
        own = valid.new_ones(len(valid), self.length)
        heard, seen = torch.cat([valid, own], 1), torch.cat([drawn, own], 1)

        def language(bridge: Tensor) -> Tensor:
            y: Tensor = self.language(self.language.numbers[b], torch.cat([F_ta, bridge], 1), heard)
            return y

        def vision(bridge: Tensor) -> Tensor:
            y: Tensor = self.vision(self.vision.numbers[b], torch.cat([F_m, bridge], 1), seen)
            return y

        after_ta, after_m = F_ta, F_m
        if "m2ta" in self.maps:
            told = vision(self._bridge("m2ta", b, F_m))  # (3)
            after_ta = language(self.maps["m2ta"][b](told[:, P:]))[:, :T]  # type: ignore[index]  # (4)
            after_m = told[:, :P]
        if "ta2m" in self.maps:
            told = language(self._bridge("ta2m", b, F_ta))  # (5)
            after_m = vision(self.maps["ta2m"][b](told[:, T:]))[:, :P]  # type: ignore[index]  # (6)
            after_ta = after_ta if "m2ta" in self.maps else told[:, :T]
        return after_ta, after_m

    def _bridge(self, way: str, b: int, like: Tensor) -> Tensor:
        held = self.bridges[way]
        bridge: Tensor = held[min(b, len(held) - 1)].expand(len(like), -1, -1)
        return bridge


def _map(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width))
