"""Features with many steps an utterance (words, frames, segments): flat over all utterances, padded only in a batch.

A corpus is never padded: MELD's longest utterance has many times the steps of its median one. Values stay in the type
in which the cache holds them, and are standardised when a batch gathers them.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 1 << 16  # steps that are looked at together


@dataclass(frozen=True)
class Steps:
    """One array of a feature for the utterances of a batch that have it, without the padding of dialogues.

    Attributes:
        values: [K, T, ...]; 0 beyond an utterance's own steps. T is at least 1, K may be 0.
        mask: bool [K, T]; True for an utterance's own steps.
        at: int64 [K]; place of each utterance in the flattened [B * L] grid of the batch, ascending.
        modality: of the feature.
    """

    values: Tensor
    mask: Tensor
    at: Tensor
    modality: str

    def kept(self, present: Tensor) -> "Steps":
        """Those of the utterances that are present, bool [B, L]."""
        left = present.flatten()[self.at]
        return replace(self, values=self.values[left], mask=self.mask[left], at=self.at[left])


@dataclass(frozen=True)
class Ragged:
    """One array of a feature for N utterances.

    Attributes:
        modality: of the feature.
        values: [S, ...], as the cache holds them; those of other utterances may lie between.
        starts, lengths: int64 [N]; utterance i owns values[starts[i]:starts[i] + lengths[i]].
        mean, std: of one step, by which what is gathered is standardised; None where it is not.
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
        """Last size of a step."""
        return self.values.shape[-1] if self.values.dim() > 1 else 1

    @property
    def size(self) -> int:
        """Numbers in a step."""
        return int(np.prod(self.values.shape[1:], dtype=np.int64))

    def of(self, rows: Tensor) -> "Ragged":
        """Utterances of these rows [M]; the values are a view of ours from the first to the last that they need."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        some = lengths > 0
        first = int(starts[some].min()) if some.any() else 0
        last = int((starts + lengths)[some].max()) if some.any() else 0
        return replace(
            self, values=self.values[first:last], starts=(starts - first).where(some, 0), lengths=lengths
        )

    def to(self, device: str) -> "Ragged":
        """The same on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def steps(self, rows: Tensor, mask: Tensor) -> Steps:
        """What a batch needs.

        Args:
            rows: [B, L] utterances; mask: bool [B, L], False for padding.
        """
        at = (mask & self.present[rows]).flatten().nonzero().flatten()
        picked = rows.flatten()[at]
        starts, lengths = self.starts[picked], self.lengths[picked]
        longest = max(1, int(lengths.max())) if len(picked) else 1
        position = torch.arange(longest, device=rows.device)
        own = position < lengths[:, None]
        index = (starts[:, None] + position).where(own, 0)
        if len(picked):
            values = self.scaled(self.values[index])
        else:
            values = self.scaled(self.values.new_zeros(0, longest, *self.values.shape[1:]))
        return Steps(values.masked_fill_(~_like(own, values), 0), own, at, self.modality)

    def scaled(self, values: Tensor) -> Tensor:
        """Values as a model gets them: numbers with a point as float32, standardised; whole ones as they are."""
        if not values.is_floating_point():
            return values
        values = values.float()
        return values if self.mean is None or self.std is None else (values - self.mean) / self.std

    def statistics(self, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation of a step over those of some utterances [M]; None for whole numbers: no measures."""
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

    def damaged(self) -> Tensor:
        """Which utterances [N] hold a value that is NaN or infinite."""
        bad = torch.zeros(len(self.values), dtype=torch.bool)
        if self.values.is_floating_point():
            for start in range(0, len(bad), CHUNK):
                part = self.values[start : start + CHUNK]
                bad[start : start + CHUNK] = ~part.isfinite().flatten(1).all(1)
        found = torch.zeros(len(self.starts), dtype=torch.bool)
        owner = torch.repeat_interleave(self.lengths)
        found[owner[bad[step_rows(self.starts, self.lengths)]]] = True
        return found


def placed(vectors: Tensor, at: Tensor, mask: Tensor, empty: Tensor | None = None) -> Tensor:
    """Vectors [K, D] at their places [K] in the grid of a batch's mask, [B, L, D].

    Args:
        empty: what stands everywhere else, [D]; 0 without it.
    """
    grid = vectors.new_zeros(vectors.shape[1]) if empty is None else empty
    return grid.expand(mask.numel(), -1).index_copy(0, at, vectors).view(*mask.shape, -1)


def step_rows(starts: Tensor, lengths: Tensor) -> Tensor:
    """Rows of all steps of some utterances, one utterance after the other, [sum of lengths]."""
    before = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum()), device=starts.device) + torch.repeat_interleave(
        starts - before, lengths
    )


def concatenated(parts: list[Ragged]) -> Ragged:
    """The utterances of several parts, one part after the other."""
    before = np.cumsum([0, *(len(part.values) for part in parts[:-1])]).tolist()
    return Ragged(
        parts[0].modality,
        torch.cat([part.values for part in parts]) if len(parts) > 1 else parts[0].values,
        torch.cat([part.starts + offset for part, offset in zip(parts, before, strict=True)]),
        torch.cat([part.lengths for part in parts]),
    )


def ragged(modality: str, packed: NDArray[np.generic], offsets: NDArray[np.int64]) -> Ragged:
    """An array as a cache file holds it: packed [S, ...], offsets [N + 1]."""
    bounds = torch.from_numpy(offsets)
    return Ragged(modality, torch.from_numpy(packed), bounds[:-1].clone(), bounds.diff())


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
