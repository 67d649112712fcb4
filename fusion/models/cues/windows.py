"""Windows of utterances: the steps of a window's utterances as one sequence.

Source: docs/papers/cues.md, sections 3.1 and 3.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.layers.masked import length_mask


@dataclass(frozen=True)
class WindowedSequence:
    """One sequence for each of N windows.

    Attributes:
        values: [N, T, ...].
        lengths: [N].
        last: bool [N, T]; whether a step belongs to the utterance where the window ends.
    """

    values: Tensor
    lengths: Tensor
    last: Tensor

    @property
    def mask(self) -> Tensor:
        """Valid steps, bool [N, T]."""
        return length_mask(self.lengths, self.values.shape[1])

    def after(self, removed: Tensor) -> "WindowedSequence":
        """Remove the first `removed` [N] steps of each sequence."""
        longest = self.values.shape[1]
        place = torch.arange(longest, device=removed.device) + removed[:, None]
        order, own = place.clamp(max=longest - 1), place < self.lengths[:, None]
        values = _picked(self.values, order, own)
        return WindowedSequence(
            values, (self.lengths - removed).clamp(min=0), self.last.gather(1, order) & own
        )

    def padded(self, longest: int) -> "WindowedSequence":
        """Pad to `longest` steps."""
        more = longest - self.values.shape[1]
        return WindowedSequence(
            F.pad(self.values, (0, 0, 0, more)), self.lengths, F.pad(self.last, (0, more))
        )


@dataclass(frozen=True)
class WindowExtent:
    """Which utterances each of N windows holds.

    Attributes:
        offsets: [O], ascending; positions relative to the utterance where a window ends (0).
        held: bool [N, O]; whether the window holds the utterance at this offset.
        oldest: [N]; offset of the oldest utterance, if the limit on steps dropped older ones. Otherwise a number below
            all offsets.
    """

    offsets: Tensor
    held: Tensor
    oldest: Tensor

    def select(self, ranks: Tensor) -> "WindowExtent":
        """Return some windows by number."""
        return WindowExtent(self.offsets, self.held[ranks], self.oldest[ranks])


def window_extent(
    batch: Batch, role: str, places: Tensor, past: int | None, future: int = 0, most: int | None = None
) -> WindowExtent:
    """Find the utterances of the windows that end at some places.

    Args:
        batch: the batch.
        role: the role whose steps are limited.
        places: places in the flattened grid, [N].
        past: utterances before the place; None: all.
        future: utterances after the place.
        most: greatest number of steps in a window. The oldest utterances are dropped as a whole; the utterance at the
            place itself is never dropped.
    """
    length = batch.mask.shape[1]
    before = length - 1 if past is None else min(past, length - 1)
    offsets = torch.arange(-before, min(future, length - 1) + 1, device=places.device)
    column = (places % length)[:, None] + offsets
    held = (column >= 0) & (column < length)  # not those of its neighbours in the batch
    oldest = places.new_full((len(places),), -length)
    if most is not None:
        counts = _counts(batch, role, places, offsets) * held
        room = counts.flip(1).cumsum(1).flip(1) <= most  # steps of an utterance and all later ones
        dropped = held & ~room & (offsets < 0)
        held = held & ~dropped
        first = offsets.masked_fill(~held, length).amin(1)
        oldest = torch.where(dropped.any(1), first, oldest)
    return WindowExtent(offsets, held, oldest)


def gather_window(batch: Batch, role: str, places: Tensor, extent: WindowExtent) -> WindowedSequence:
    """Gather the steps of a role in each window, oldest utterance first.

    Args:
        batch: the batch.
        role: the role.
        places: places where the windows end, [N].
        extent: the utterances of the windows.
    """
    steps = batch.steps[role]
    counts = _counts(batch, role, places, extent.offsets) * extent.held
    ends = counts.cumsum(1)
    total = ends[:, -1]
    place = torch.arange(max(1, int(total.max()) if len(total) else 1), device=places.device)
    own = place < total[:, None]
    rank = torch.searchsorted(ends, place.expand(len(places), -1).contiguous(), right=True)
    rank = rank.clamp(max=len(extent.offsets) - 1)
    last = own & (extent.offsets[rank] == 0)
    if not len(steps.places):
        empty = steps.values.new_zeros(len(places), len(place), *steps.values.shape[2:])
        return WindowedSequence(empty, total, last)
    rows = _ranks(steps.places, batch.mask.numel())[_around(places, extent.offsets, batch)].clamp(min=0)
    step = (place - (ends - counts).gather(1, rank)).clamp(min=0, max=steps.values.shape[1] - 1)
    values = steps.values[rows.gather(1, rank), step]
    return WindowedSequence(values.masked_fill(~_like(own, values), 0), total, last)


def steps_of_places(batch: Batch, role: str, places: Tensor) -> tuple[WindowedSequence, Tensor]:
    """The steps of a role at some places [N], without a window, and whether each place has any, bool [N]."""
    steps = batch.steps[role]
    rank = _ranks(steps.places, batch.mask.numel())[places]
    has = rank >= 0
    if not len(steps.places):
        empty = steps.values.new_zeros(len(places), *steps.values.shape[1:])
        nothing = torch.zeros(empty.shape[:2], dtype=torch.bool, device=places.device)
        return WindowedSequence(empty, rank.new_zeros(len(places)), nothing), has
    held = rank.clamp(min=0)
    mask = steps.mask[held] & has[:, None]
    longest = max(1, int(mask.sum(1).max())) if len(mask) else 1
    mask, values = mask[:, :longest], steps.values[held, :longest]
    return WindowedSequence(values * _like(mask, values), mask.sum(1), mask), has


def drop_oldest_words(
    oldest: Tensor, tokens: WindowedSequence, words: WindowedSequence
) -> tuple[WindowedSequence, WindowedSequence, Tensor]:
    """Drop the tokens and words of the oldest utterances of text windows.

    If no word is left, the first remaining token counts as a word, as `<s>` does in a window without words.

    Args:
        oldest: offset of the oldest utterance to keep, [N].
        tokens: the tokens of the windows.
        words: their words; each has first token, last token + 1 and utterance offset.

    Returns:
        The remaining tokens and words, and the number of words dropped from each window, [N].
    """
    removed = (words.mask & (words.values[..., 2] < oldest[:, None])).sum(1)
    if not removed.any():
        return tokens, words, removed
    left = words.after(removed)
    none = (left.lengths == 0) & (removed > 0)
    begins = left.values[:, 0, 0].long() - 1  # keeps the speaker token before the first word
    ends = words.values[..., 1].long().masked_fill(~words.mask, 0).amax(1)
    cut = torch.where(removed > 0, torch.where(none, ends, begins), 0)
    spans = left.values.clone()
    spans[..., :2] = (spans[..., :2] - cut[:, None, None].to(spans.dtype)).clamp(min=0)
    spans[none, 0] = torch.tensor([0, 1, 0], dtype=spans.dtype, device=spans.device)
    words = WindowedSequence(spans, left.lengths + none, left.last)
    return tokens.after(cut), words, removed


def count_steps(batch: Batch, role: str, places: Tensor, extent: WindowExtent | None = None) -> Tensor:
    """Number of steps of a role in the windows that end at some places [N]; without `extent`, at the places alone."""
    if extent is None:
        return _counts(batch, role, places, places.new_zeros(1)).squeeze(1)
    return (_counts(batch, role, places, extent.offsets) * extent.held).sum(1)


def _counts(batch: Batch, role: str, places: Tensor, offsets: Tensor) -> Tensor:
    """Number of steps of the utterances around each place, [N, O], in its dialogue or not."""
    steps = batch.steps[role]
    grid = places.new_zeros(batch.mask.numel()).index_copy(0, steps.places, steps.mask.sum(1))
    return grid[_around(places, offsets, batch)]


def _around(places: Tensor, offsets: Tensor, batch: Batch) -> Tensor:
    return (places[:, None] + offsets).clamp(min=0, max=batch.mask.numel() - 1)


def _ranks(at: Tensor, size: int) -> Tensor:
    """Map from place in the flattened grid to number among the utterances with steps, or -1, [size]."""
    return at.new_full((size,), -1).index_copy(0, at, torch.arange(len(at), device=at.device))


def _picked(values: Tensor, order: Tensor, own: Tensor) -> Tensor:
    found = values[torch.arange(len(values), device=values.device)[:, None], order]
    return found.masked_fill(~_like(own, found), 0)


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
