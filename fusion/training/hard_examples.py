"""Informative samples: what flips in a pool of utterances joins the next epoch (AMuSE; specs/amuse.md 5.2 and A-11)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch, Padded, Subset
from fusion.data.ragged import concatenated
from fusion.data.stages import Pool
from fusion.data.windows import View

MOST = 256  # utterances that join an epoch


class Miner(Protocol):
    """A model that learns from a pool."""

    def flips(self, batch: Batch) -> Tensor:
        """Whose prediction changes with a small change of the model, bool [B, L]."""

    def train(self, mode: bool = True) -> object:
        """As of a module."""


class Mined:
    """Batches of train without its pool, in each epoch with those of the pool that flipped after the one before.

    All is a matter of labels: a dialogue of the pool comes for the sake of those of its utterances that flipped, and
    the others carry none.
    """

    def __init__(
        self, model: Miner, pool: Pool, train: Subset, dev: Subset, view: View, order: torch.Generator
    ) -> None:
        self._model, self._view, self._behind = model, view, 0
        if pool.share is None:
            self._subset = together(train, dev)
            self._held = torch.arange(len(self._subset.labels), device=train.labels.device) >= len(
                train.labels
            )
        else:
            self._subset = train
            self._held = share_of(train, pool.share, order)
        self._pool = self._of(self._held)

    def begin(self, epoch: int) -> None:
        """Told the number of epochs that are behind."""
        self._behind = epoch

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """An epoch, as that of `Padded`; all that the next one depends on is the model and the generator."""
        asked = ~self._held
        if self._behind:
            asked = asked.index_fill(0, self._flipped(order), True)
        yield from self._of(asked).shuffled(size, order)

    def _of(self, asked: Tensor) -> Padded:
        return Padded(replace(self._subset, labels=self._subset.labels.where(asked, IGNORED)), self._view)

    @torch.no_grad()
    def _flipped(self, order: torch.Generator) -> Tensor:
        """Rows of up to MOST utterances of the pool whose prediction flips, drawn from all such."""
        self._model.train(False)
        found = [self._held.new_zeros(0, dtype=torch.int64)]
        for rows, speaks, batch in self._pool.by_length(labelled=True):
            found.append(rows[self._model.flips(batch) & speaks & (batch.labels != IGNORED)])
        self._model.train()
        rows = torch.cat(found)
        return rows[torch.randperm(len(rows), generator=order)[:MOST].to(rows.device)]


def share_of(train: Subset, share: float, order: torch.Generator) -> Tensor:
    """Which utterances are those of a share of the labelled dialogues, rounded down, bool [N]."""
    dialogue = torch.repeat_interleave(train.lengths)
    labelled = torch.unique(dialogue[train.labels != IGNORED])
    drawn = torch.randperm(len(labelled), generator=order)[: int(share * len(labelled))]
    return torch.isin(dialogue, labelled[drawn.to(labelled.device)])


def together(a: Subset, b: Subset) -> Subset:
    """The dialogues of one subset, then those of the other."""
    flat: dict[str, Any] = {
        n: torch.cat([getattr(a, n), getattr(b, n)]) for n in ("inside", "speakers", "labels", "known")
    }
    return replace(
        a,
        utterances=a.utterances + b.utterances,
        offsets=torch.cat([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        features={m: torch.cat([x, b.features[m]]) for m, x in a.features.items()},
        present={m: torch.cat([x, b.present[m]]) for m, x in a.present.items()},
        sequences={
            role: replace(concatenated([x, b.sequences[role]]), mean=x.mean, std=x.std)
            for role, x in a.sequences.items()
        },
        **flat,
    )
