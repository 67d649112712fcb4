"""Sequence features (words, frames, segments): the steps of all utterances in one flat tensor, padded only in a batch.

A corpus is never padded as a whole, because MELD's longest utterance has many times the steps of its median one. Values
keep the type of the cache; a batch standardises what it gathers.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 1 << 16  # steps in one pass of a computation over all steps


@dataclass(frozen=True)
class Steps:
    """One array of a feature for the K utterances of a batch that have it. Padding of dialogues takes no row.

    Attributes:
        values: [K, T, ...]; 0 beyond an utterance's own steps. T is at least 1, K may be 0.
        mask: bool [K, T]; True for an utterance's own steps.
        places: int64 [K]; position of each utterance in the flattened [B * L] grid of the batch, ascending.
        modality: the modality of the feature.
    """

    values: Tensor
    mask: Tensor
    places: Tensor
    modality: str

    def where_present(self, present: Tensor) -> "Steps":
        """Keep the utterances that are present, bool [B, L]."""
        left = present.flatten()[self.places]
        return replace(self, values=self.values[left], mask=self.mask[left], places=self.places[left])


@dataclass(frozen=True)
class Ragged:
    """One array of a feature for N utterances.

    Attributes:
        modality: the modality of the feature.
        values: [S, ...], steps as the cache holds them; steps of other utterances may lie in between.
        starts, lengths: int64 [N]; utterance i owns values[starts[i]:starts[i] + lengths[i]].
        mean, std: statistics of one step that `gather` standardises with; None: no standardisation.
    """

    modality: str
    values: Tensor
    starts: Tensor
    lengths: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """Which utterances have any steps, bool [N]."""
        return self.lengths > 0

    @property
    def width(self) -> int:
        """Last dimension of a step; 1 for scalar steps."""
        return self.values.shape[-1] if self.values.dim() > 1 else 1

    @property
    def size(self) -> int:
        """How many numbers a step holds."""
        return int(np.prod(self.values.shape[1:], dtype=np.int64))

    def select(self, rows: Tensor) -> "Ragged":
        """Return some utterances by row [M]. The values are not copied: they are a slice that covers all of them."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        some = lengths > 0
        first = int(starts[some].min()) if some.any() else 0
        last = int((starts + lengths)[some].max()) if some.any() else 0
        return replace(
            self, values=self.values[first:last], starts=(starts - first).where(some, 0), lengths=lengths
        )

    def to(self, device: str) -> "Ragged":
        """Return a copy on the device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def gather(self, rows: Tensor, mask: Tensor) -> Steps:
        """Gather the steps of a batch, padded to its longest utterance and standardised.

        Args:
            rows: [B, L], the utterances of the batch.
            mask: bool [B, L], False for padding.
        """
        places = (mask & self.present[rows]).flatten().nonzero().flatten()
        picked = rows.flatten()[places]
        starts, lengths = self.starts[picked], self.lengths[picked]
        longest = max(1, int(lengths.max())) if len(picked) else 1
        position = torch.arange(longest, device=rows.device)
        own = position < lengths[:, None]
        index = (starts[:, None] + position).where(own, 0)
        if len(picked):
            values = self._scaled(self.values[index])
        else:
            values = self._scaled(self.values.new_zeros(0, longest, *self.values.shape[1:]))
        return Steps(values.masked_fill_(~_like(own, values), 0), own, places, self.modality)

    def _scaled(self, values: Tensor) -> Tensor:
        """Values as a model gets them: floats as float32, standardised; integers unchanged."""
        if not values.is_floating_point():
            return values
        values = values.float()
        return values if self.mean is None or self.std is None else (values - self.mean) / self.std

    def statistics(self, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of the steps of some utterances, by row [M].

        Returns:
            Two tensors of the shape of a step, or None for integers, which are codes and not measurements.
        """
        if not self.values.is_floating_point():
            return None
        index = step_rows(self.starts[rows], self.lengths[rows])
        count = max(1, len(index))
        shape = self.values.shape[1:]
        total, squares = (torch.zeros(shape, dtype=torch.float64, device=index.device) for _ in range(2))
        for part in torch.split(index, CHUNK):
            total += self.values[part].double().sum(0)
        mean = total / count
        for part in torch.split(index, CHUNK):
            squares += (self.values[part].double() - mean).square().sum(0)
        return mean, (squares / count).sqrt()

    def not_finite(self) -> Tensor:
        """Which utterances hold a value that is NaN or infinite, bool [N]."""
        bad = torch.zeros(len(self.values), dtype=torch.bool)
        if self.values.is_floating_point():
            for start in range(0, len(bad), CHUNK):
                part = self.values[start : start + CHUNK]
                bad[start : start + CHUNK] = ~part.isfinite().flatten(1).all(1)
        found = torch.zeros(len(self.starts), dtype=torch.bool)
        owner = torch.repeat_interleave(self.lengths)
        found[owner[bad[step_rows(self.starts, self.lengths)]]] = True
        return found


def scatter_to_grid(vectors: Tensor, places: Tensor, mask: Tensor, empty: Tensor | None = None) -> Tensor:
    """Put the vectors of K utterances at their places in the grid of a batch.

    Args:
        vectors: [K, D].
        places: int64 [K], positions in the flattened grid.
        mask: the mask of the batch, [B, L].
        empty: the vector of all other positions, [D]; None: 0.

    Returns:
        [B, L, D].
    """
    grid = vectors.new_zeros(vectors.shape[1]) if empty is None else empty
    return grid.expand(mask.numel(), -1).index_copy(0, places, vectors).view(*mask.shape, -1)


def step_rows(starts: Tensor, lengths: Tensor) -> Tensor:
    """Rows of all steps of some utterances, utterance after utterance, [sum of lengths].

    Args:
        starts, lengths: int64 [N], as in `Ragged`.
    """
    before = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum()), device=starts.device) + torch.repeat_interleave(
        starts - before, lengths
    )


def concatenate_ragged(parts: list[Ragged]) -> Ragged:
    """Join the utterances of several parts, part after part."""
    before = np.cumsum([0, *(len(part.values) for part in parts[:-1])]).tolist()
    return Ragged(
        parts[0].modality,
        torch.cat([part.values for part in parts]) if len(parts) > 1 else parts[0].values,
        torch.cat([part.starts + offset for part, offset in zip(parts, before, strict=True)]),
        torch.cat([part.lengths for part in parts]),
    )


def ragged_of_packed(modality: str, packed: NDArray[np.generic], offsets: NDArray[np.int64]) -> Ragged:
    """Make a `Ragged` from an array of a cache file: `packed` [S, ...] and `offsets` [N + 1]."""
    bounds = torch.from_numpy(offsets)
    return Ragged(modality, torch.from_numpy(packed), bounds[:-1].clone(), bounds.diff())


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
