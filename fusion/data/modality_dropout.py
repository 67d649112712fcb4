"""Modalities that utterances go without although they have them: some in training, whole ones in a test."""

from collections.abc import Collection
from dataclasses import replace

import torch

from fusion.data.batches import Batch, Subset


def without_some(batch: Batch, share: float, order: torch.Generator) -> Batch:
    """The batch without some of its modalities, utterance by utterance, each left out with probability `share`.

    An utterance that would lose all that it has keeps it.
    """
    drawn = torch.rand(len(batch.present), *batch.mask.shape, generator=order).to(batch.mask.device) >= share
    kept = {m: has & keep for (m, has), keep in zip(batch.present.items(), drawn, strict=True)}
    nothing = ~torch.stack(list(kept.values())).any(0)
    present = {m: has.where(nothing, kept[m]) for m, has in batch.present.items()}
    features = {m: x.where(present[m].unsqueeze(-1), 0) for m, x in batch.features.items()}
    steps = {role: held.kept(present[held.modality]) for role, held in batch.steps.items()}
    return replace(batch, features=features, present=present, steps=steps)


def without(subset: Subset, gone: Collection[str]) -> Subset:
    """The subset as if none of its utterances had these modalities."""
    return replace(
        subset,
        features={m: torch.zeros_like(x) if m in gone else x for m, x in subset.features.items()},
        present={m: torch.zeros_like(has) if m in gone else has for m, has in subset.present.items()},
        sequences={
            role: replace(x, lengths=torch.zeros_like(x.lengths)) if x.modality in gone else x
            for role, x in subset.sequences.items()
        },
    )
