"""What a model sees at once, and of which utterances it speaks then: the tasks, as stretches of flat dialogues.

Recognition (ERC) over whole dialogues sees a dialogue and speaks of all its utterances. Otherwise every target has a
stretch of its own that ends at it (recognition from the past alone), or right before it (prediction, EPC): nothing
of the target, or of anything later, is ever gathered into such a batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ercache.params.schema import ExperimentParams


@dataclass(frozen=True)
class View:
    """How a task looks at dialogues.

    Attributes:
        ahead: 1 when the target is the utterance after the last that is seen (EPC), else 0.
        same_speaker: the target is the next one by the speaker of the last that is seen; others may speak in between.
        history: utterances seen at most; None for all of the past, and, without `ahead`, for whole dialogues.
    """

    ahead: int = 0
    history: int | None = None
    same_speaker: bool = False

    @property
    def whole(self) -> bool:
        """Whether dialogues are seen whole."""
        return self.ahead == 0 and self.history is None


DIALOGUES = View()


def view_of(entry: ExperimentParams) -> View:
    """How an experiment looks at dialogues."""
    same = entry.epc_target == "next_same_speaker"
    return View(1 if entry.task == "epc" else 0, entry.history, same)


@dataclass(frozen=True)
class Stretches:
    """Stretches of a flat tensor of utterances.

    Attributes:
        starts, ends: stretch k holds rows starts[k]:ends[k], [K].
        targets: the row that stretch k speaks of at its last position, [K]; None when each row speaks of itself.
    """

    starts: Tensor
    ends: Tensor
    targets: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Utterances of each stretch, [K]."""
        return self.ends - self.starts

    def rows(self, picked: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Where picked stretches lie: utterances of dialogues, or steps of utterances.

        Args:
            picked: ranks of stretches, [B].
            longest: size of the longest of them, L.

        Returns:
            Rows [B, L], some valid row where there is padding, and the mask [B, L] that is False there.
        """
        position = torch.arange(longest, device=self.starts.device)
        start, end = self.starts[picked, None], self.ends[picked, None]
        rows = start + position
        mask = rows < end
        return rows.where(mask, torch.minimum(start, self.ends.max() - 1)), mask

    def spoken_of(self, picked: Tensor, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The row [B, L] that each position speaks of, and where [B, L] it speaks of any."""
        if self.targets is None:
            return rows, mask
        last = (self.lengths[picked] - 1)[:, None] == torch.arange(rows.shape[1], device=rows.device)
        return rows.where(~last, self.targets[picked, None]), last


def stretches_of(view: View, offsets: Tensor, speakers: Tensor | None = None) -> Stretches:
    """The stretches of a view.

    Args:
        offsets: dialogue d owns utterances offsets[d]:offsets[d + 1], [D + 1].
        speakers: of the utterances, by number in their dialogue, [N]; needed where the target has that of the last.
    """
    if view.whole:
        return Stretches(offsets[:-1], offsets[1:])
    targets = torch.arange(int(offsets[-1]), device=offsets.device)
    begins = offsets[:-1].repeat_interleave(offsets.diff())  # of the dialogue of each utterance
    ends = targets + 1 - view.ahead
    if view.same_speaker:
        assert speakers is not None
        ends = _after_own_last(speakers, begins)
    starts = begins if view.history is None else torch.maximum(begins, ends - view.history)
    seen = ends > starts
    return Stretches(starts[seen], ends[seen], targets[seen])


def _after_own_last(speakers: Tensor, begins: Tensor) -> Tensor:
    """Right after the utterance before each one by its own speaker, or the beginning of its dialogue, [N]."""
    ends, spoken = [], dict[tuple[int, int], int]()
    for row, (speaker, begin) in enumerate(zip(speakers.tolist(), begins.tolist(), strict=True)):
        ends.append(spoken.get((begin, speaker), begin))
        spoken[begin, speaker] = row + 1
    return torch.tensor(ends, dtype=begins.dtype, device=begins.device)
