"""Labelled examples for training an image extractor: pictures, or mel spectrograms as images with their sounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ercache.nets.m2fnet import normalised
from extract.media.mel_image import mel_image
from extract.pretrain.augment import augment_sound, flip_randomly

FloatArray = NDArray[np.float32]
EMBEDDED_AT_ONCE = 64  # images


@dataclass(frozen=True)
class Examples:
    """N labelled images of equal size, for training or validating an image extractor.

    Attributes:
        ids: id of the utterance, or name of the file, from which each image comes, [N]; several images may share one.
        labels: class index of each image, [N].
        images: RGB bytes, [N, side, side, 3].
        sounds: for images of mel spectrograms, the sound of each image at 16 kHz; empty for pictures.
        variants: V augmented (randomly changed) versions of each image, made in advance, [N, V, side, side, 3]; None if
            versions are made when needed.
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
        """Side of the square images, pixels."""
        return int(self.images.shape[1])

    def batch(self, rows: Tensor, random: torch.Generator, augment: bool) -> Tensor:
        """Return the images with the B indices `rows` as RGB bytes, [B, side, side, 3].

        With `augment`, pictures are mirrored at random, and mel images are computed from randomly changed sounds.
        """
        if not augment:
            return self.images[rows]
        if not self.sounds:
            return flip_randomly(self.images[rows], random)
        if self.variants is not None:
            drawn = torch.randint(self.variants.shape[1], (len(rows),), generator=random)
            return self.variants[rows, drawn]
        chance = np.random.default_rng(int(torch.randint(2**31, (1,), generator=random)))
        pictures = [mel_image(augment_sound(self.sounds[n], chance), self.side) for n in rows.tolist()]
        return torch.from_numpy(np.stack(pictures))

    def with_variants(self, count: int, seed: int) -> "Examples":
        """Return the same examples with `count` augmented versions of each mel image added, as the field `variants`.

        They are computed from randomly changed sounds.
        """
        chance = np.random.default_rng(seed)
        made = [
            [mel_image(augment_sound(sound, chance), self.side) for _ in range(count)]
            for sound in self.sounds
        ]
        return replace(self, variants=torch.from_numpy(np.array(made)))

    def rows(self, chosen: Sequence[int]) -> "Examples":
        """Return new examples that contain only the images at the given indices, in this order."""
        index = torch.tensor(list(chosen), dtype=torch.long)
        return Examples(
            tuple(self.ids[n] for n in chosen),
            self.labels[index],
            self.images[index],
            tuple(self.sounds[n] for n in chosen) if self.sounds else (),
            None if self.variants is None else self.variants[index],
        )


def examples_of_sounds(
    ids: Sequence[str], labels: Sequence[int], sounds: Sequence[FloatArray], side: int
) -> Examples:
    """Turn labelled sounds (mono, 16 kHz) into training examples: images of their mel spectrograms."""
    pictures = np.stack([mel_image(sound, side) for sound in sounds])
    return Examples(tuple(ids), torch.tensor(labels), torch.from_numpy(pictures), tuple(sounds))


@torch.no_grad()
def embed_with(network: nn.Module, images: Tensor, device: str) -> Tensor:
    """Compute the embeddings of N images, RGB bytes [N, side, side, 3], with a network on the given device.

    Return a tensor on the CPU, [N, d], with d values per image.
    """
    parts = [
        network(normalised(part.to(device))).float().cpu() for part in torch.split(images, EMBEDDED_AT_ONCE)
    ]
    return torch.cat(parts)
