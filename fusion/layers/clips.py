"""The utterances of a batch as single clips without padding of dialogues, for models that ignore conversation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.data.ragged import Steps


@dataclass(frozen=True)
class ClipBatch:
    """A batch of N utterances without their dialogues.

    Attributes:
        values: role (an input of the model, as its entry names it) -> steps, padded [N, T, ...].
        lengths: role -> number of steps [N]; 0 if a clip lacks the role.
    """

    values: dict[str, Tensor]
    lengths: dict[str, Tensor]

    def select(self, ranks: Tensor) -> "ClipBatch":
        """Return some utterances by index [n], with no more padding than they need."""
        lengths = {role: n[ranks] for role, n in self.lengths.items()}
        longest = {role: max([1, *n.tolist()]) for role, n in lengths.items()}
        return ClipBatch({role: x[ranks, : longest[role]] for role, x in self.values.items()}, lengths)


def dense_clips(batch: Batch, shortest: Mapping[str, int]) -> tuple[Tensor, ClipBatch]:
    """Return the N utterances of a batch that have any steps, as clips.

    Args:
        batch: the batch.
        shortest: role -> least size T of its tensor (shorter ones are padded); other roles are left out.

    Returns:
        The places [N] of the clips in the flattened grid of the batch, and the clips.
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
    """Extend clips to at least `least` steps with zeros, which count as steps. Clips of length 0 stay empty.

    Args:
        x: [N, T, ...].
        lengths: [N].
        least: least number of steps.

    Returns:
        [N, max(T, least), ...] and the new lengths [N].
    """
    missing = max(0, least - x.shape[1])
    x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
    return x, lengths.clamp(min=least).where(lengths > 0, 0)


def weaken_modalities(clips: ClipBatch, how: str) -> tuple[ClipBatch, int]:
    """Copy all clips several times, with weaker audio (a) or video (v) in the copies.

    Args:
        clips: clips with the roles `audio` and `visual`.
        how: `softhard`: (a, v), (c a, (1 - c) v) with a random c from 0, 0.01 .. 0.99 for each clip, (0, v), (a, 0).
            `noise`: (a, v), (noise, v), (a, noise).

    Returns:
        The copies, one set of N clips after the other, and the number of sets.

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
