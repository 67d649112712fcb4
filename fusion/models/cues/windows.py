"""Windows of utterances of a dialogue, as one sequence of their steps each (Cues, 3.1 and 3.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.layers.masked import within


@dataclass(frozen=True)
class Heard:
    """A sequence for each of N windows: [N, T, ...], lengths [N], and which steps are of the last utterance, [N, T]."""

    values: Tensor
    lengths: Tensor
    last: Tensor

    @property
    def mask(self) -> Tensor:
        """Valid steps, bool [N, T]."""
        return within(self.lengths, self.values.shape[1])

    def after(self, gone: Tensor) -> "Heard":
        """Without the first `gone` steps [N] of each."""
        longest = self.values.shape[1]
        place = torch.arange(longest, device=gone.device) + gone[:, None]
        order, own = place.clamp(max=longest - 1), place < self.lengths[:, None]
        values = _picked(self.values, order, own)
        return Heard(values, (self.lengths - gone).clamp(min=0), self.last.gather(1, order) & own)

    def padded(self, longest: int) -> "Heard":
        """The same with room for so many steps."""
        more = longest - self.values.shape[1]
        return Heard(F.pad(self.values, (0, 0, 0, more)), self.lengths, F.pad(self.last, (0, more)))


@dataclass(frozen=True)
class Reach:
    """Which utterances windows hold.

    Attributes:
        offsets: of them from the one where a window ends, ascending, [O]; 0 is that one itself.
        held: bool [N, O].
        oldest: the first offset that a bound on the steps left, [N]; that of a window which it did not touch is lower
            than any.
    """

    offsets: Tensor
    held: Tensor
    oldest: Tensor

    def at(self, ranks: Tensor) -> "Reach":
        """Those of some windows."""
        return Reach(self.offsets, self.held[ranks], self.oldest[ranks])


def reach_of(
    batch: Batch, role: str, places: Tensor, past: int | None, future: int = 0, most: int | None = None
) -> Reach:
    """The utterances around each place [N] of the batch's grid.

    Args:
        past, future: utterances before and after it; None for all before it.
        most: steps of `role` at most; the oldest utterances go whole, that of the place itself never.
    """
    length = batch.mask.shape[1]
    before = length - 1 if past is None else min(past, length - 1)
    offsets = torch.arange(-before, min(future, length - 1) + 1, device=places.device)
    column = (places % length)[:, None] + offsets
    held = (column >= 0) & (column < length)  # not those of its neighbours in the batch
    oldest = places.new_full((len(places),), -length)
    if most is not None:
        counts = _counts(batch, role, places, offsets) * held
        room = counts.flip(1).cumsum(1).flip(1) <= most  # of an utterance and all after it
        dropped = held & ~room & (offsets < 0)
        held = held & ~dropped
        first = offsets.masked_fill(~held, length).amin(1)
        oldest = torch.where(dropped.any(1), first, oldest)
    return Reach(offsets, held, oldest)


def window_of(batch: Batch, role: str, places: Tensor, reach: Reach) -> Heard:
    """The steps of the utterances of each window, oldest first, without those that have none."""
    steps = batch.steps[role]
    counts = _counts(batch, role, places, reach.offsets) * reach.held
    ends = counts.cumsum(1)
    total = ends[:, -1]
    place = torch.arange(max(1, int(total.max()) if len(total) else 1), device=places.device)
    own = place < total[:, None]
    rank = torch.searchsorted(ends, place.expand(len(places), -1).contiguous(), right=True)
    rank = rank.clamp(max=len(reach.offsets) - 1)
    last = own & (reach.offsets[rank] == 0)
    if not len(steps.at):
        empty = steps.values.new_zeros(len(places), len(place), *steps.values.shape[2:])
        return Heard(empty, total, last)
    rows = _ranks(steps.at, batch.mask.numel())[_around(places, reach.offsets, batch)].clamp(min=0)
    step = (place - (ends - counts).gather(1, rank)).clamp(min=0, max=steps.values.shape[1] - 1)
    values = steps.values[rows.gather(1, rank), step]
    return Heard(values.masked_fill(~_like(own, values), 0), total, last)


def steps_at(batch: Batch, role: str, places: Tensor) -> tuple[Heard, Tensor]:
    """The steps of a role at some places [N], all of them of the last utterance, and which of them have any."""
    steps = batch.steps[role]
    rank = _ranks(steps.at, batch.mask.numel())[places]
    has = rank >= 0
    if not len(steps.at):
        empty = steps.values.new_zeros(len(places), *steps.values.shape[1:])
        nothing = torch.zeros(empty.shape[:2], dtype=torch.bool, device=places.device)
        return Heard(empty, rank.new_zeros(len(places)), nothing), has
    held = rank.clamp(min=0)
    mask = steps.mask[held] & has[:, None]
    longest = max(1, int(mask.sum(1).max())) if len(mask) else 1
    mask, values = mask[:, :longest], steps.values[held, :longest]
    return Heard(values * _like(mask, values), mask.sum(1), mask), has


def since(oldest: Tensor, tokens: Heard, words: Heard) -> tuple[Heard, Heard, Tensor]:
    """Tokens and words of a text window without those of utterances before the offset `oldest` [N], and words gone.

    Where no word is left, the first token that is left stands in their place, as `<s>` does in a window without any.
    """
    gone = (words.mask & (words.values[..., 2] < oldest[:, None])).sum(1)
    if not gone.any():
        return tokens, words, gone
    left = words.after(gone)
    none = (left.lengths == 0) & (gone > 0)
    begins = left.values[:, 0, 0].long() - 1  # with the token of who speaks
    ends = words.values[..., 1].long().masked_fill(~words.mask, 0).amax(1)
    cut = torch.where(gone > 0, torch.where(none, ends, begins), 0)
    spans = left.values.clone()
    spans[..., :2] = (spans[..., :2] - cut[:, None, None].to(spans.dtype)).clamp(min=0)
    spans[none, 0] = torch.tensor([0, 1, 0], dtype=spans.dtype, device=spans.device)
    words = Heard(spans, left.lengths + none, left.last)
    return tokens.after(cut), words, gone


def steps_in(batch: Batch, role: str, places: Tensor, reach: Reach | None = None) -> Tensor:
    """Steps of a role in the windows that end at some places, [N]; without a reach in the utterances there."""
    if reach is None:
        return _counts(batch, role, places, places.new_zeros(1)).squeeze(1)
    return (_counts(batch, role, places, reach.offsets) * reach.held).sum(1)


def _counts(batch: Batch, role: str, places: Tensor, offsets: Tensor) -> Tensor:
    """Steps of the utterances around each place, whether they are of its dialogue or not, [N, O]."""
    steps = batch.steps[role]
    grid = places.new_zeros(batch.mask.numel()).index_copy(0, steps.at, steps.mask.sum(1))
    return grid[_around(places, offsets, batch)]


def _around(places: Tensor, offsets: Tensor, batch: Batch) -> Tensor:
    return (places[:, None] + offsets).clamp(min=0, max=batch.mask.numel() - 1)


def _ranks(at: Tensor, size: int) -> Tensor:
    """Place in a grid -> rank among the utterances that have steps, or -1."""
    return at.new_full((size,), -1).index_copy(0, at, torch.arange(len(at), device=at.device))


def _picked(values: Tensor, order: Tensor, own: Tensor) -> Tensor:
    found = values[torch.arange(len(values), device=values.device)[:, None], order]
    return found.masked_fill(~_like(own, found), 0)


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
