"""Hard examples: utterances of a pool whose prediction flips join the next epoch (AMuSE).

Source: docs/papers/amuse.md, section 5.2 and A-11.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch, Padded, Subset
from fusion.data.ragged import concatenated
from fusion.data.stages import Pool
from fusion.data.windows import View

MOST = 256  # utterances that join an epoch


class Mined:
    """Batches of train without its pool; each epoch adds utterances of the pool that flipped after the epoch before.

    A dialogue of the pool joins whole, but only its utterances that flipped carry a label.

    Args:
        flips: the model's hook, batch -> which predictions change with a small change of the model, bool [B, L].
        view: the context window of the batches.
        order: draws the pool, where it is a share of train.
    """

    def __init__(
        self,
        model: nn.Module,
        flips: Callable[[Batch], Tensor],
        pool: Pool,
        train: Subset,
        dev: Subset,
        view: View,
        order: torch.Generator,
    ) -> None:
        self._model, self._flips, self._view, self._trained_epochs = model, flips, view, 0
        if pool.share is None:
            self._subset = together(train, dev)
            self._held = torch.arange(len(self._subset.labels), device=train.labels.device) >= len(
                train.labels
            )
        else:
            self._subset = train
            self._held = share_of(train, pool.share, order)
        self._pool = self._of(self._held)

    def on_epoch_start(self, epoch: int) -> None:
        """Note the number of epochs that have been trained."""
        self._trained_epochs = epoch

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """The batches of an epoch, as `Padded` gives them; they depend on the model and the generator alone."""
        labelled = ~self._held
        if self._trained_epochs:
            labelled = labelled.index_fill(0, self._flipped(order), True)
        yield from self._of(labelled).shuffled(size, order)

    def _of(self, labelled: Tensor) -> Padded:
        return Padded(replace(self._subset, labels=self._subset.labels.where(labelled, IGNORED)), self._view)

    @torch.no_grad()
    def _flipped(self, order: torch.Generator) -> Tensor:
        """Rows of up to MOST utterances of the pool whose prediction flips, drawn from all such."""
        self._model.train(False)
        found = [self._held.new_zeros(0, dtype=torch.int64)]
        for rows, speaks, batch in self._pool.by_length(labelled=True):
            found.append(rows[self._flips(batch) & speaks & (batch.labels != IGNORED)])
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
