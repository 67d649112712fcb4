"""One test conversation, utterance by utterance: who spoke, what was felt, what the best run took it for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from app.report.runs import Run
from ercache.errors import ErcacheError
from ercache.manifest import Manifest, Utterance

if TYPE_CHECKING:
    from fusion.runs.predictions import Majority

SHORTEST, LONGEST = 6, 14  # utterances of a conversation that shows something and still fits a page


@dataclass(frozen=True)
class Turn:
    """An utterance with what most seeds predict; None where the run predicts nothing."""

    number: int
    id: str
    speaker: str
    text: str
    label: str | None
    predicted: str | None
    votes: int
    seeds: int
    probability: float | None

    @property
    def state(self) -> str:
        """`right`, `wrong`, or `open` where label or prediction is missing."""
        if self.label is None or self.predicted is None:
            return "open"
        return "right" if self.label == self.predicted else "wrong"


@dataclass(frozen=True)
class TimelineView:
    """A conversation: one lane per speaker, one column per turn; `cut` turns at its end are not shown."""

    corpus: str
    dialogue: str
    experiment: str
    speakers: tuple[str, ...]
    turns: tuple[Turn, ...]
    cut: int
    changes: int

    @property
    def right(self) -> int:
        """How many turns are predicted right."""
        return sum(turn.state == "right" for turn in self.turns)

    @property
    def judged(self) -> int:
        """How many turns have both a label and a prediction."""
        return sum(turn.state != "open" for turn in self.turns)


def timeline_view(best: Run, manifest: Manifest | None) -> TimelineView | None:
    """The conversation of the run that is best on validation; None without predictions or manifest."""
    majorities = _majorities(best)
    if manifest is None or not majorities:
        return None
    dialogues: dict[str, list[Utterance]] = {}
    for utterance in manifest.utterances:
        dialogues.setdefault(utterance.dialogue, []).append(utterance)
    shown = {d: us for d, us in dialogues.items() if any(u.id in majorities for u in us)}
    if not shown:
        return None
    dialogue = choose_dialogue(shown, best.file.label_set)
    utterances = sorted(shown[dialogue], key=lambda u: u.index)
    kept = utterances[:LONGEST]
    return TimelineView(
        corpus=manifest.corpus,
        dialogue=dialogue,
        experiment=best.record.experiment,
        speakers=tuple(dict.fromkeys(u.speaker for u in kept)),
        turns=tuple(
            _turn(i, u, best.record.label_set, majorities.get(u.id)) for i, u in enumerate(kept, start=1)
        ),
        cut=len(utterances) - len(kept),
        changes=changes_of(utterances, best.record.label_set),
    )


def choose_dialogue(dialogues: Mapping[str, Sequence[Utterance]], label_set: str) -> str:
    """The dialogue of fitting length with most changes of the true label, then most speakers, then the first.

    When none has 6 to 14 utterances, those nearest to that range compete.
    """

    def rank(dialogue: str) -> tuple[int, int, int]:
        utterances = dialogues[dialogue]
        outside = max(SHORTEST - len(utterances), len(utterances) - LONGEST, 0)
        speakers = len({u.speaker for u in utterances})
        return (outside, -changes_of(utterances, label_set), -speakers)

    return min(dialogues, key=rank)


def changes_of(utterances: Sequence[Utterance], label_set: str) -> int:
    """How often the true label differs from that of the labelled utterance before."""
    ordered = sorted(utterances, key=lambda u: u.index)
    labels = [label for u in ordered if (label := u.labels.get(label_set)) is not None]
    return sum(a != b for a, b in pairwise(labels))


def _turn(number: int, utterance: Utterance, label_set: str, majority: "Majority | None") -> Turn:
    return Turn(
        number=number,
        id=utterance.id,
        speaker=utterance.speaker,
        text=utterance.text or "(no transcript)",
        # Several emotions at once are no label set of the manifest; the predictions hold them as words.
        label=utterance.labels.get(label_set, majority.label if majority else None),
        predicted=majority.predicted if majority else None,
        votes=majority.votes if majority else 0,
        seeds=majority.seeds if majority else 0,
        probability=majority.probability if majority else None,
    )
