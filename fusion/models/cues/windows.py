"""Windows of utterances: joins the steps (tokens, frames) of all utterances in a window into one sequence.

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
    """The padded sequences of N windows; each sequence holds the steps of all utterances in the window.

    Attributes:
        values: the steps, padded to T steps, [N, T, ...] ("..." is the shape of a step).
        lengths: number of steps of each sequence, [N].
        last: bool [N, T]; whether the step belongs to the utterance where the window ends.
    """

    values: Tensor
    lengths: Tensor
    last: Tensor

    @property
    def mask(self) -> Tensor:
        """Mask of the N sequences, bool [N, T]: True for steps, False for padding."""
        return length_mask(self.lengths, self.values.shape[1])

    def after(self, removed: Tensor) -> "WindowedSequence":
        """Return the sequences without their first steps.

        Args:
            removed: number of steps to remove from the beginning of each of the N sequences, [N].
        """
        longest = self.values.shape[1]
        place = torch.arange(longest, device=removed.device) + removed[:, None]
        order, own = place.clamp(max=longest - 1), place < self.lengths[:, None]
        values = _picked(self.values, order, own)
        return WindowedSequence(
            values, (self.lengths - removed).clamp(min=0), self.last.gather(1, order) & own
        )

    def padded(self, longest: int) -> "WindowedSequence":
        """Return the same sequences, but with more padding: `longest` steps each."""
        more = longest - self.values.shape[1]
        return WindowedSequence(
            F.pad(self.values, (0, 0, 0, more)), self.lengths, F.pad(self.last, (0, more))
        )


@dataclass(frozen=True)
class WindowExtent:
    """The extent of N windows: which utterances of the dialogue each window holds.

    An utterance is named by its offset from the utterance where the window ends: 0 for this one, -1 for the one before.

    Attributes:
        offsets: the O offsets that occur in any window, ascending, [O].
        held: bool [N, O]; whether the window holds the utterance at this offset.
        oldest: [N]; offset of the oldest utterance in the window, if older ones were dropped because the window had too
            many steps. Otherwise a number below all offsets.
    """

    offsets: Tensor
    held: Tensor
    oldest: Tensor

    def select(self, ranks: Tensor) -> "WindowExtent":
        """Keep only the windows with the indices `ranks`, and return their extent."""
        return WindowExtent(self.offsets, self.held[ranks], self.oldest[ranks])


def window_extent(
    batch: Batch, role: str, places: Tensor, past: int | None, future: int = 0, most: int | None = None
) -> WindowExtent:
    """Decide which utterances belong to each of N windows, given the utterance where the window ends.

    Args:
        batch: the batch of B dialogues with L utterances.
        role: the model's input (role) whose steps are counted for `most`.
        places: position in the flattened batch [B * L] of the utterance where each window ends, [N].
        past: number of utterances to take before this utterance; None for all earlier utterances.
        future: number of utterances to take after this utterance.
        most: greatest number of steps in a window; None for no limit. The oldest utterances are dropped as a whole. The
            utterance where the window ends is never dropped.
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
    """Join the steps of each window's utterances into one sequence, oldest utterance first.

    Args:
        batch: the batch of B dialogues with L utterances.
        role: the model's input (role) whose steps are joined.
        places: position in the flattened batch [B * L] of the utterance where each of N windows ends, [N].
        extent: which utterances each window holds.
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
    """Return the steps of one role (input of the model) for N single utterances.

    Args:
        batch: the batch of B dialogues with L utterances.
        role: name of the role.
        places: position of each utterance in the flattened batch [B * L], [N].

    Returns:
        Two values: the steps of the utterances; bool [N], whether the utterance has steps for this role.
    """
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
    """Drop the tokens and words of the oldest utterances from N text windows.

    If no word is left in a window, the first remaining token counts as a word.

    Args:
        oldest: for each window, the offset of the oldest utterance to keep, [N], as in `WindowExtent`.
        tokens: tokens of the windows.
        words: words of the windows; each word is (first token, last token + 1, offset of its utterance).

    Returns:
        Three values: the remaining tokens; the remaining words; the number of words dropped from each window, [N].
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
    """Count the steps of one role (input of the model) in each of N windows.

    Args:
        batch: the batch of B dialogues with L utterances.
        role: name of the role.
        places: position in the flattened batch [B * L] of the utterance where each window ends, [N].
        extent: which utterances each window holds; None to count only the steps of the utterance where it ends.

    Returns:
        Number of steps of each window, [N].
    """
    if extent is None:
        return _counts(batch, role, places, places.new_zeros(1)).squeeze(1)
    return (_counts(batch, role, places, extent.offsets) * extent.held).sum(1)


def _counts(batch: Batch, role: str, places: Tensor, offsets: Tensor) -> Tensor:
    """Count the steps (words or speech frames) of utterances at several distances from each of N utterances.

    Args:
        batch: the batch of B dialogues with L utterances.
        role: the model's input (role) whose steps are counted.
        places: position of each of the N utterances in the flattened batch [B * L], [N].
        offsets: O distances in turns, such as -1 for the utterance before, [O]. A distance may lead into another
            dialogue of the batch; the caller must ignore such counts.

    Returns:
        Number of steps of the utterance at each distance, [N, O].
    """
    steps = batch.steps[role]
    grid = places.new_zeros(batch.mask.numel()).index_copy(0, steps.places, steps.mask.sum(1))
    return grid[_around(places, offsets, batch)]


def _around(places: Tensor, offsets: Tensor, batch: Batch) -> Tensor:
    return (places[:, None] + offsets).clamp(min=0, max=batch.mask.numel() - 1)


def _ranks(at: Tensor, size: int) -> Tensor:
    """Invert a list of positions: for each position of the flattened batch, where it stands in the list.

    Args:
        at: positions of the utterances that have steps.
        size: number of positions of the flattened batch.

    Returns:
        int [size]; the index in `at`, or -1 for a position that is not listed.
    """
    return at.new_full((size,), -1).index_copy(0, at, torch.arange(len(at), device=at.device))


def _picked(values: Tensor, order: Tensor, own: Tensor) -> Tensor:
    found = values[torch.arange(len(values), device=values.device)[:, None], order]
    return found.masked_fill(~_like(own, found), 0)


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim()))
