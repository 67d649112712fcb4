"""Labelled examples of a training: bytes of images, and the sounds behind them where they are mel images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ercache.nets.m2fnet import normalised
from extract.media.mel_image import mel_image
from extract.pretrain.augment import flipped, varied

FloatArray = NDArray[np.float32]
EMBEDDED_AT_ONCE = 64  # images


@dataclass(frozen=True)
class Examples:
    """Images of one side with their labels.

    Attributes:
        ids: what each was taken from: an utterance or a file; several images may share one, [N].
        labels: class indices, [N].
        images: RGB bytes, [N, side, side, 3].
        sounds: of each mel image, at 16 kHz; empty for pictures.
        variants: changed versions of each image, made ahead, [N, V, side, side, 3].
    """

    ids: tuple[str, ...]
    labels: Tensor
    images: Tensor
    sounds: tuple[FloatArray, ...] = ()
    variants: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def side(self) -> int:
        """Pixels."""
        return int(self.images.shape[1])

    def batch(self, rows: Tensor, random: torch.Generator, augment: bool) -> Tensor:
        """Bytes of some images, changed by chance where asked for: [B, side, side, 3]."""
        if not augment:
            return self.images[rows]
        if not self.sounds:
            return flipped(self.images[rows], random)
        if self.variants is not None:
            drawn = torch.randint(self.variants.shape[1], (len(rows),), generator=random)
            return self.variants[rows, drawn]
        chance = np.random.default_rng(int(torch.randint(2**31, (1,), generator=random)))
        pictures = [mel_image(varied(self.sounds[n], chance), self.side) for n in rows.tolist()]
        return torch.from_numpy(np.stack(pictures))

    def with_variants(self, count: int, seed: int) -> "Examples":
        """The same examples with so many changed versions of each mel image."""
        chance = np.random.default_rng(seed)
        made = [[mel_image(varied(sound, chance), self.side) for _ in range(count)] for sound in self.sounds]
        return replace(self, variants=torch.from_numpy(np.array(made)))

    def rows(self, chosen: Sequence[int]) -> "Examples":
        """Some of the examples."""
        index = torch.tensor(list(chosen), dtype=torch.long)
        return Examples(
            tuple(self.ids[n] for n in chosen),
            self.labels[index],
            self.images[index],
            tuple(self.sounds[n] for n in chosen) if self.sounds else (),
            None if self.variants is None else self.variants[index],
        )


def of_sounds(ids: Sequence[str], labels: Sequence[int], sounds: Sequence[FloatArray], side: int) -> Examples:
    """Examples of sounds at 16 kHz, [n] each."""
    pictures = np.stack([mel_image(sound, side) for sound in sounds])
    return Examples(tuple(ids), torch.tensor(labels), torch.from_numpy(pictures), tuple(sounds))


@torch.no_grad()
def embedded(network: nn.Module, images: Tensor, device: str) -> Tensor:
    """What a network in eval mode makes of image bytes [N, side, side, 3]: [N, d] on the CPU."""
    parts = [
        network(normalised(part.to(device))).float().cpu() for part in torch.split(images, EMBEDDED_AT_ONCE)
    ]
    return torch.cat(parts)
