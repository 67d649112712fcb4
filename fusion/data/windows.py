"""Context windows: which utterances a model sees at once, and which utterances it labels (the targets).

Three cases:

- Recognition (ERC) over whole dialogues: the model sees a dialogue and labels all utterances of it.
- Recognition from the past (`history`): for each target, the model sees a span of utterances that ends at the target.
- Prediction (EPC): for each target, the model sees a span of utterances that ends before the target.

In the second and the third case, a batch never holds utterances after the target. In prediction it does not hold the
target either.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ercache.params.schema import ExperimentParams


@dataclass(frozen=True)
class ContextWindow:
    """Which utterances of a dialogue a model sees in order to label one target utterance.

    Attributes:
        ahead: 0 if the target is the last utterance that the model sees (ERC); 1 if the target comes after it (EPC).
        history: greatest number of utterances that the model sees. None means no limit: the whole dialogue if `ahead`
            is 0, all earlier utterances if `ahead` is 1.
        same_speaker: only for EPC: the target is the next utterance of the person who spoke last in the context.
            Utterances of other people in between are left out.
    """

    ahead: int = 0
    history: int | None = None
    same_speaker: bool = False

    @property
    def whole(self) -> bool:
        """Whether the model sees each dialogue as a whole, later utterances included (ERC without `history`)."""
        return self.ahead == 0 and self.history is None


WHOLE_DIALOGUES = ContextWindow()


def context_window_of(entry: ExperimentParams) -> ContextWindow:
    """Return the context window of an experiment, from the entries `task`, `history` and `epc_target`."""
    same = entry.epc_target == "next_same_speaker"
    return ContextWindow(1 if entry.task == "epc" else 0, entry.history, same)


@dataclass(frozen=True)
class Spans:
    """K spans of consecutive utterances of a subset; a row is the index of an utterance in the whole subset.

    Attributes:
        starts, ends: int [K]; span k holds the rows starts[k]:ends[k].
        targets: int [K]; row of the utterance that the last position of span k predicts. None: every position
            predicts its own utterance.
    """

    starts: Tensor
    ends: Tensor
    targets: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Number of utterances of each span, [K]."""
        return self.ends - self.starts

    def rows(self, picked: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Return the row indices of the utterances of B spans, padded to equal length.

        Args:
            picked: indices of the B spans, [B].
            longest: length L of the longest of these spans.

        Returns:
            Row indices int [B, L] (padding repeats some valid row) and the mask bool [B, L], False on padding.
        """
        position = torch.arange(longest, device=self.starts.device)
        start, end = self.starts[picked, None], self.ends[picked, None]
        rows = start + position
        mask = rows < end
        return rows.where(mask, torch.minimum(start, self.ends.max() - 1)), mask

    def target_rows(self, picked: Tensor, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the utterance that the model predicts at each position of B padded spans.

        Args:
            picked: indices of the B spans, [B].
            rows, mask: the result of the method `rows` for the same spans, [B, L] each (L positions).

        Returns:
            Two tensors: int [B, L], the row index of each position's target utterance; bool [B, L], whether the
            position has a target.
        """
        if self.targets is None:
            return rows, mask
        last = (self.lengths[picked] - 1)[:, None] == torch.arange(rows.shape[1], device=rows.device)
        return rows.where(~last, self.targets[picked, None]), last


def spans_of(window: ContextWindow, offsets: Tensor, speakers: Tensor | None = None) -> Spans:
    """Return the spans of utterances that a model sees: one for each dialogue, or one for each target utterance.

    A target without any context has no span.

    Args:
        window: the context window.
        offsets: [number of dialogues + 1]; dialogue d owns the utterances offsets[d]:offsets[d + 1].
        speakers: speaker index of each of the N utterances, [N]; needed only for `window.same_speaker`.
    """
    if window.whole:
        return Spans(offsets[:-1], offsets[1:])
    targets = torch.arange(int(offsets[-1]), device=offsets.device)
    begins = offsets[:-1].repeat_interleave(offsets.diff())  # first row of each utterance's dialogue
    ends = targets + 1 - window.ahead
    if window.same_speaker:
        assert speakers is not None
        ends = _after_own_last(speakers, begins)
    starts = begins if window.history is None else torch.maximum(begins, ends - window.history)
    has_context = ends > starts
    return Spans(starts[has_context], ends[has_context], targets[has_context])


def _after_own_last(speakers: Tensor, begins: Tensor) -> Tensor:
    """Find where the context of each of N targets ends, if a speaker's next utterance is predicted (EPC).

    It ends right after the previous utterance by the same speaker.

    Args:
        speakers: speaker index of each utterance, [N].
        begins: row index of the first utterance of each utterance's dialogue, [N].

    Returns:
        Row index behind the last context utterance, [N]. A speaker's first utterance has no context; the index is then
        the beginning of the dialogue.
    """
    ends, previous_end = [], dict[tuple[int, int], int]()
    for row, (speaker, begin) in enumerate(zip(speakers.tolist(), begins.tolist(), strict=True)):
        ends.append(previous_end.get((begin, speaker), begin))
        previous_end[begin, speaker] = row + 1
    return torch.tensor(ends, dtype=begins.dtype, device=begins.device)
