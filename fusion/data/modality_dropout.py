"""Removes modalities: at random in training (modality dropout), or from all utterances in an evaluation."""

from collections.abc import Collection
from dataclasses import replace

import torch

from fusion.data.batches import Batch, Subset


def drop_modalities(batch: Batch, share: float, order: torch.Generator) -> Batch:
    """Return a batch in which each modality of each utterance is removed with probability `share`.

    An utterance that would lose all modalities keeps all of them.

    Args:
        batch: the batch; it is not changed.
        share: probability of removal, 0 to 1.
        order: random generator of the draws.
    """
    keeps = torch.rand(len(batch.present), *batch.mask.shape, generator=order).to(batch.mask.device) >= share
    kept = {m: has & keep for (m, has), keep in zip(batch.present.items(), keeps, strict=True)}
    nothing = ~torch.stack(list(kept.values())).any(0)
    present = {m: has.where(nothing, kept[m]) for m, has in batch.present.items()}
    features = {m: x.where(present[m].unsqueeze(-1), 0) for m, x in batch.features.items()}
    steps = {role: held.where_present(present[held.modality]) for role, held in batch.steps.items()}
    return replace(batch, features=features, present=present, steps=steps)


def remove_modalities(subset: Subset, removed: Collection[str]) -> Subset:
    """Return a copy of a subset in which every utterance lacks the modalities named in `removed`."""
    return replace(
        subset,
        features={m: torch.zeros_like(x) if m in removed else x for m, x in subset.features.items()},
        present={m: torch.zeros_like(has) if m in removed else has for m, has in subset.present.items()},
        sequences={
            role: replace(x, lengths=torch.zeros_like(x.lengths)) if x.modality in removed else x
            for role, x in subset.sequences.items()
        },
    )
