"""The clips of a batch, dense and apart from their dialogues, for models that know no conversation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.data.ragged import Steps


@dataclass(frozen=True)
class Clips:
    """N clips: role -> steps [N, T, ...], and their lengths [N], 0 where a clip has none of it."""

    values: dict[str, Tensor]
    lengths: dict[str, Tensor]

    def at(self, ranks: Tensor) -> "Clips":
        """Some of them [n], without the padding that these do not need."""
        lengths = {role: n[ranks] for role, n in self.lengths.items()}
        longest = {role: max([1, *n.tolist()]) for role, n in lengths.items()}
        return Clips({role: x[ranks, : longest[role]] for role, x in self.values.items()}, lengths)


def clips_of(batch: Batch, shortest: Mapping[str, int]) -> tuple[Tensor, Clips]:
    """The utterances that have anything, as clips, and their places [N] in the batch's grid.

    Args:
        shortest: role -> steps that are held of it at least, padding or not; other roles are left out.
    """
    held = {role: batch.steps[role] for role in shortest}
    places = torch.unique(torch.cat([steps.at for steps in held.values()]))
    dense = {role: _dense(steps, places, shortest[role]) for role, steps in held.items()}
    return places, Clips({r: x for r, (x, _) in dense.items()}, {r: n for r, (_, n) in dense.items()})


def _dense(steps: Steps, places: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    rank = torch.searchsorted(places, steps.at)
    longest = max(steps.values.shape[1], shortest)
    values = steps.values.new_zeros(len(places), longest, *steps.values.shape[2:])
    values[rank, : steps.values.shape[1]] = steps.values
    return values, steps.at.new_zeros(len(places)).index_copy(0, rank, steps.mask.sum(1))


def lengthened(x: Tensor, lengths: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Clips [N, T, ...] of at least so many steps, zeros at the end of what is shorter; nothing stays nothing."""
    behind = max(0, least - x.shape[1])
    x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, behind))
    return x, lengths.clamp(min=least).where(lengths > 0, 0)


def weakened(clips: Clips, how: str) -> tuple[Clips, int]:
    """Copies of all clips, one set after the other, and how many sets (docs/papers/avtca.md, section 5).

    `softhard`: (a, v), (c a, (1 - c) v) with c of 0, 0.01 .. 0.99 for each clip, (0, v), (a, 0). `noise`: (a, v),
    (noise, v), (a, noise).
    """
    a, v = clips.values["audio"], clips.values["visual"].float()
    levels = 1 if clips.values["visual"].is_floating_point() else 255
    if how == "softhard":
        c = torch.randint(0, 100, (len(a),), device=a.device) / 100
        sets = [(a, v), (_times(c, a), _times(1 - c, v)), (0 * a, v), (a, 0 * v)]
    else:
        sets = [(a, v), (torch.randn_like(a), v), (a, levels * torch.randn_like(v))]
    values = {"audio": torch.cat([x for x, _ in sets]), "visual": torch.cat([x for _, x in sets])}
    return Clips(values, {m: n.repeat(len(sets)) for m, n in clips.lengths.items()}), len(sets)


def _times(c: Tensor, x: Tensor) -> Tensor:
    return c.view(-1, *[1] * (x.dim() - 1)) * x
