"""Makes batches of single clips from batches of dialogues, for models that use no context of the conversation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.data.ragged import Steps


@dataclass(frozen=True)
class ClipBatch:
    """A batch of N single clips; each clip is one utterance.

    Attributes:
        values: role (an input of the model, such as `audio`) -> steps [N, T, ...], padded to T steps ("..." is the
            shape of a step).
        lengths: role -> number of steps of each clip, [N]; 0 if the clip has no such input.
    """

    values: dict[str, Tensor]
    lengths: dict[str, Tensor]

    def select(self, ranks: Tensor) -> "ClipBatch":
        """Return the clips with the indices `ranks`, int [number of clips], padded only to the longest of them."""
        lengths = {role: n[ranks] for role, n in self.lengths.items()}
        longest = {role: max([1, *n.tolist()]) for role, n in lengths.items()}
        return ClipBatch({role: x[ranks, : longest[role]] for role, x in self.values.items()}, lengths)


def dense_clips(batch: Batch, shortest: Mapping[str, int]) -> tuple[Tensor, ClipBatch]:
    """Collect the N utterances of a batch of dialogues that have steps in at least one role, as single clips.

    Args:
        batch: the batch of B dialogues with L utterances.
        shortest: role (an input of the model) -> number of steps to which clips are padded at least. Only these roles
            are collected.

    Returns:
        Two values: int [N], the position of each clip in the flattened batch [B * L]; and the clips.
    """
    held = {role: batch.steps[role] for role in shortest}
    places = torch.unique(torch.cat([steps.places for steps in held.values()]))
    dense = {role: _dense(steps, places, shortest[role]) for role, steps in held.items()}
    return places, ClipBatch({r: x for r, (x, _) in dense.items()}, {r: n for r, (_, n) in dense.items()})


def _dense(steps: Steps, places: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    rank = torch.searchsorted(places, steps.places)
    longest = max(steps.values.shape[1], shortest)
    values = steps.values.new_zeros(len(places), longest, *steps.values.shape[2:])
    values[rank, : steps.values.shape[1]] = steps.values
    return values, steps.places.new_zeros(len(places)).index_copy(0, rank, steps.mask.sum(1))


def pad_to_length(x: Tensor, lengths: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Extend short clips to `least` steps with zeros that count as real steps. Clips of length 0 stay empty.

    Args:
        x: steps of N clips, padded to T steps, [N, T, ...] ("..." is the shape of a step).
        lengths: number of steps of each clip, [N].
        least: smallest allowed number of steps.

    Returns:
        Two tensors: the extended clips, [N, max(T, least), ...]; the new number of steps of each clip, [N].
    """
    missing = max(0, least - x.shape[1])
    x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
    return x, lengths.clamp(min=least).where(lengths > 0, 0)


def weaken_modalities(clips: ClipBatch, how: str) -> tuple[ClipBatch, int]:
    """Copy all clips several times, and weaken the audio (a) or the video (v) of the copies.

    Args:
        clips: N clips with the roles `audio` and `visual`.
        how: `softhard` makes four sets of clips, here as (audio, video): (a, v), (c a, (1 - c) v), (0, v), (a, 0). The
            factor c is drawn for each clip from 0, 0.01, ..., 0.99. `noise` makes three sets: (a, v), (noise, v),
            (a, noise).

    Returns:
        Two values: one batch with all sets of N clips, set after set; and the number of sets.

    Source: docs/papers/avtca.md, section 5.
    """
    a, v = clips.values["audio"], clips.values["visual"].float()
    levels = 1 if clips.values["visual"].is_floating_point() else 255
    if how == "softhard":
        c = torch.randint(0, 100, (len(a),), device=a.device) / 100
        sets = [(a, v), (_times(c, a), _times(1 - c, v)), (0 * a, v), (a, 0 * v)]
    else:
        sets = [(a, v), (torch.randn_like(a), v), (a, levels * torch.randn_like(v))]
    values = {"audio": torch.cat([x for x, _ in sets]), "visual": torch.cat([x for _, x in sets])}
    return ClipBatch(values, {m: n.repeat(len(sets)) for m, n in clips.lengths.items()}), len(sets)


def _times(c: Tensor, x: Tensor) -> Tensor:
    return c.view(-1, *[1] * (x.dim() - 1)) * x
