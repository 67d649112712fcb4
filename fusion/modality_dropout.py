"""Modality dropout: in training, utterances go without modalities that they have, for a model must do without."""

from dataclasses import replace

import torch

from fusion.batches import Batch


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
