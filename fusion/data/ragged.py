"""Sequence features (words, frames, segments): the steps of all utterances in one flat tensor, padded only in batches.

The corpus is never padded as a whole: the longest utterance of MELD has many times the steps of the median utterance.
Values keep the number type of the cache; they are standardised when a batch is gathered.
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
    """The steps of a sequence feature in a batch, for the K utterances of the batch that have the feature.

    Attributes:
        values: [K, T, ...], padded with 0 to T steps. T is at least 1; K may be 0.
        mask: bool [K, T]; True for steps, False for padding.
        places: int64 [K], ascending; position of each utterance in the flattened batch [B * L] of B dialogues with L
            utterances.
        modality: the modality of the feature.
    """

    values: Tensor
    mask: Tensor
    places: Tensor
    modality: str

    def where_present(self, present: Tensor) -> "Steps":
        """Return the steps of only those utterances for which `present` is True.

        Args:
            present: bool [B, L]; one value for each of the L utterances of B dialogues.
        """
        left = present.flatten()[self.places]
        return replace(self, values=self.values[left], mask=self.mask[left], places=self.places[left])


@dataclass(frozen=True)
class Ragged:
    """A sequence feature of N utterances with different numbers of steps, as one flat tensor without padding.

    Attributes:
        modality: the modality of the feature.
        values: [S, ...], the S steps of all utterances, one utterance after the other ("..." is the shape of a step).
            May also hold steps of utterances that are not used.
        starts, lengths: int64 [N]; utterance i owns values[starts[i]:starts[i] + lengths[i]].
        mean, std: mean and standard deviation of a step over the training data, with which `gather` z-scores steps;
            None for no z-scoring.
    """

    modality: str
    values: Tensor
    starts: Tensor
    lengths: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """Whether each utterance has at least one step, bool [N]."""
        return self.lengths > 0

    @property
    def width(self) -> int:
        """Size of the last dimension of a step; 1 if a step is a single value."""
        return self.values.shape[-1] if self.values.dim() > 1 else 1

    @property
    def size(self) -> int:
        """Number of values in one step."""
        return int(np.prod(self.values.shape[1:], dtype=np.int64))

    def select(self, rows: Tensor) -> "Ragged":
        """Return a `Ragged` of only the M utterances with the row indices `rows`, int [M]. Steps are not copied."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        some = lengths > 0
        first = int(starts[some].min()) if some.any() else 0
        last = int((starts + lengths)[some].max()) if some.any() else 0
        return replace(
            self, values=self.values[first:last], starts=(starts - first).where(some, 0), lengths=lengths
        )

    def to(self, device: str) -> "Ragged":
        """Return a copy with all tensors on a torch device, such as `cpu` or `cuda:0`."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def gather(self, rows: Tensor, mask: Tensor) -> Steps:
        """Gather the steps of a batch, standardise them, and pad them to the longest utterance of the batch.

        Args:
            rows: int [B, L], index (0 to N - 1) of each utterance of a batch of B dialogues with L utterances.
            mask: bool [B, L]; True for utterances, False for padding.
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
        """Standardise steps: floats become z-scored float32; integers, which are codes such as token ids, stay."""
        if not values.is_floating_point():
            return values
        values = values.float()
        return values if self.mean is None or self.std is None else (values - self.mean) / self.std

    def statistics(self, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Compute mean and standard deviation over all steps of the M utterances with the row indices `rows`, int [M].

        Returns:
            Two tensors with the shape of a step; None for integer steps, which are codes (such as token ids).
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
        """Find the utterances with a NaN or an infinite value: bool [N], True for such an utterance."""
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
    """Put the vectors of K utterances at their positions in a batch of B dialogues with L utterances.

    Args:
        vectors: one vector of D values for each of the K utterances, [K, D].
        places: int64 [K], position of each utterance in the flattened batch [B * L].
        mask: the mask of the batch, [B, L]; gives the sizes B and L.
        empty: vector [D] for all other positions; None for zeros.

    Returns:
        The filled tensor [B, L, D].
    """
    grid = vectors.new_zeros(vectors.shape[1]) if empty is None else empty
    return grid.expand(mask.numel(), -1).index_copy(0, places, vectors).view(*mask.shape, -1)


def step_rows(starts: Tensor, lengths: Tensor) -> Tensor:
    """Return the row indices of all steps of N utterances in a flat tensor of steps, int [sum of lengths].

    Args:
        starts, lengths: int64 [N]; utterance i owns the rows starts[i]:starts[i] + lengths[i].
    """
    before = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum()), device=starts.device) + torch.repeat_interleave(
        starts - before, lengths
    )


def concatenate_ragged(parts: list[Ragged]) -> Ragged:
    """Join sequence features, such as one `Ragged` for each corpus part, into one `Ragged` with all utterances."""
    before = np.cumsum([0, *(len(part.values) for part in parts[:-1])]).tolist()
    return Ragged(
        parts[0].modality,
        torch.cat([part.values for part in parts]) if len(parts) > 1 else parts[0].values,
        torch.cat([part.starts + offset for part, offset in zip(parts, before, strict=True)]),
        torch.cat([part.lengths for part in parts]),
    )


def ragged_of_packed(modality: str, packed: NDArray[np.generic], offsets: NDArray[np.int64]) -> Ragged:
    """Make a `Ragged` from a sequence array of a cache file.

    Args:
        modality: modality of the feature.
        packed: [S, ...], the S steps of all utterances, one utterance after the other.
        offsets: int64 [N + 1] for N utterances; utterance i owns the steps offsets[i]:offsets[i + 1].
    """
    bounds = torch.from_numpy(offsets)
    return Ragged(modality, torch.from_numpy(packed), bounds[:-1].clone(), bounds.diff())


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
