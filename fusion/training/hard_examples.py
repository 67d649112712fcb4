"""Hard examples (AMuSE): held-back utterances that join an epoch if a small change of the model flips the prediction.

Source: docs/papers/amuse.md, section 5.2 and A-11.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch, PaddedBatches, Subset
from fusion.data.ragged import concatenate_ragged
from fusion.data.stages import Pool
from fusion.data.windows import ContextWindow

MAX_FLIPPED = 256  # utterances of the pool that join one epoch, at most


class HardExampleBatches:
    """Makes the training batches of each epoch: the training data outside the pool, plus the pool's hard examples.

    The pool is a set of utterances that are held back from training. After each epoch, the hook `flips` finds the hard
    ones, whose prediction a small change of the model flips. Their whole dialogues join the next epoch as context, but
    only hard utterances have a label.

    Args:
        model: the model in training.
        flips: hook of the model: batch -> bool [B, L]; whether a small change of the model flips the prediction.
        pool: says which utterances form the pool.
        train: the training data.
        dev: the validation data; used only if they are the pool.
        window: context window of the batches.
        order: random generator that draws the pool, if it is a fraction of the training data.
    """

    def __init__(
        self,
        model: nn.Module,
        flips: Callable[[Batch], Tensor],
        pool: Pool,
        train: Subset,
        dev: Subset,
        window: ContextWindow,
        order: torch.Generator,
    ) -> None:
        self._model, self._flips, self._window, self._trained_epochs = model, flips, window, 0
        if pool.share is None:
            self._subset = join_subsets(train, dev)
            self._held = torch.arange(len(self._subset.labels), device=train.labels.device) >= len(
                train.labels
            )
        else:
            self._subset = train
            self._held = draw_pool(train, pool.share, order)
        self._pool = self._of(self._held)

    def on_epoch_start(self, epoch: int) -> None:
        """Remember the number of finished epochs; while it is 0, no utterance of the pool joins the training data."""
        self._trained_epochs = epoch

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch in random order, with at most `size` dialogues or context windows each.

        The batches depend only on the model's weights and the random generator `order`.
        """
        labelled = ~self._held
        if self._trained_epochs:
            labelled = labelled.index_fill(0, self._flipped(order), True)
        yield from self._of(labelled).shuffled(size, order)

    def _of(self, labelled: Tensor) -> PaddedBatches:
        return PaddedBatches(
            replace(self._subset, labels=self._subset.labels.where(labelled, IGNORED)), self._window
        )

    @torch.no_grad()
    def _flipped(self, order: torch.Generator) -> Tensor:
        """Return row indices of hard pool utterances (whose prediction flips), at most `MAX_FLIPPED` random ones."""
        self._model.train(False)
        found = [self._held.new_zeros(0, dtype=torch.int64)]
        for rows, has_target, batch in self._pool.by_length(labelled=True):
            found.append(rows[self._flips(batch) & has_target & (batch.labels != IGNORED)])
        self._model.train()
        rows = torch.cat(found)
        return rows[torch.randperm(len(rows), generator=order)[:MAX_FLIPPED].to(rows.device)]


def draw_pool(train: Subset, share: float, order: torch.Generator) -> Tensor:
    """Draw the pool: a random fraction `share` of the labelled dialogues (the number is rounded down).

    Returns:
        bool [N]; whether each of N utterances belongs to a drawn dialogue.
    """
    dialogue = torch.repeat_interleave(train.lengths)
    labelled = torch.unique(dialogue[train.labels != IGNORED])
    drawn = torch.randperm(len(labelled), generator=order)[: int(share * len(labelled))]
    return torch.isin(dialogue, labelled[drawn.to(labelled.device)])


def join_subsets(a: Subset, b: Subset) -> Subset:
    """Join two subsets into one with all dialogues: first those of `a`, then those of `b`."""
    flat: dict[str, Any] = {
        n: torch.cat([getattr(a, n), getattr(b, n)])
        for n in ("in_subset", "speakers", "labels", "all_labels")
    }
    return replace(
        a,
        utterances=a.utterances + b.utterances,
        offsets=torch.cat([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        features={m: torch.cat([x, b.features[m]]) for m, x in a.features.items()},
        present={m: torch.cat([x, b.present[m]]) for m, x in a.present.items()},
        sequences={
            role: replace(concatenate_ragged([x, b.sequences[role]]), mean=x.mean, std=x.std)
            for role, x in a.sequences.items()
        },
        **flat,
    )
