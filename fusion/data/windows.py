"""Context windows: which utterances a model sees at once, and which of them are its targets.

Three cases:

- Recognition (ERC) over whole dialogues: the model sees a dialogue and labels all its utterances.
- Recognition from the past (`history`): every target has a span of its own that ends at the target.
- Prediction (EPC): every target has a span of its own that ends before the target.

In the last two, no later utterance is ever gathered into the batch; in prediction, not even the target.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ercache.params.schema import ExperimentParams


@dataclass(frozen=True)
class ContextWindow:
    """Which part of a dialogue a model sees for one target.

    Attributes:
        ahead: 0 if the target is the last utterance that the model sees (ERC), 1 if it comes after it (EPC).
        history: greatest number of utterances that the model sees. None: the whole past, and with `ahead` 0 the
            whole dialogue, later utterances included.
        same_speaker: the target is the next utterance of the speaker of the last one that the model sees; what others
            say in between is left out.
    """

    ahead: int = 0
    history: int | None = None
    same_speaker: bool = False

    @property
    def whole(self) -> bool:
        """Whether the model sees whole dialogues."""
        return self.ahead == 0 and self.history is None


WHOLE_DIALOGUES = ContextWindow()


def context_window_of(entry: ExperimentParams) -> ContextWindow:
    """The context window of an experiment."""
    same = entry.epc_target == "next_same_speaker"
    return ContextWindow(1 if entry.task == "epc" else 0, entry.history, same)


@dataclass(frozen=True)
class Spans:
    """K spans of a flat tensor of utterances.

    Attributes:
        starts, ends: int [K]; span k holds the rows starts[k]:ends[k].
        targets: int [K]; the row of the target of span k, predicted at its last position. None: every row is its own
            target.
    """

    starts: Tensor
    ends: Tensor
    targets: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Number of utterances of each span, [K]."""
        return self.ends - self.starts

    def rows(self, picked: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Rows of some spans, padded.

        Args:
            picked: numbers of the spans, [B].
            longest: length L of the longest of them.

        Returns:
            Rows int [B, L] (any valid row on padding) and the mask bool [B, L], False on padding.
        """
        position = torch.arange(longest, device=self.starts.device)
        start, end = self.starts[picked, None], self.ends[picked, None]
        rows = start + position
        mask = rows < end
        return rows.where(mask, torch.minimum(start, self.ends.max() - 1)), mask

    def target_rows(self, picked: Tensor, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of some spans.

        Args:
            picked: numbers of the spans, [B].
            rows, mask: what `rows` returned for them, [B, L].

        Returns:
            int [B, L], the row of the target of each position, and bool [B, L], whether the position has one.
        """
        if self.targets is None:
            return rows, mask
        last = (self.lengths[picked] - 1)[:, None] == torch.arange(rows.shape[1], device=rows.device)
        return rows.where(~last, self.targets[picked, None]), last


def spans_of(window: ContextWindow, offsets: Tensor, speakers: Tensor | None = None) -> Spans:
    """Cut flat dialogues into the spans of a context window. A target without any context has no span.

    Args:
        window: the context window.
        offsets: dialogue d owns the utterances offsets[d]:offsets[d + 1], [number of dialogues + 1].
        speakers: number of each utterance's speaker in its dialogue, [N]; needed only for `window.same_speaker`.
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
    """Where the context of each utterance ends: after its speaker's previous utterance, int [N].

    A speaker's first utterance has no context: its entry is the beginning of the dialogue.
    """
    ends, previous_end = [], dict[tuple[int, int], int]()
    for row, (speaker, begin) in enumerate(zip(speakers.tolist(), begins.tolist(), strict=True)):
        ends.append(previous_end.get((begin, speaker), begin))
        previous_end[begin, speaker] = row + 1
    return torch.tensor(ends, dtype=begins.dtype, device=begins.device)
