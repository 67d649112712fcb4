"""Section of the report: one test conversation with its speakers, true emotions, and the best run's predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from app.report.runs import Run
from ercache.errors import ErcacheError
from ercache.manifest import Manifest, Utterance

if TYPE_CHECKING:
    from fusion.runs.predictions import MajorityVote

SHORTEST, LONGEST = 6, 14  # preferred number of utterances, so that the conversation fits the page


@dataclass(frozen=True)
class Turn:
    """One utterance of the shown conversation.

    Attributes:
        number: position among the shown utterances, counted from 1.
        predicted: class that most seeds predict; None if the run predicts nothing for this utterance.
        votes: number of seeds that predict this class.
        seeds: number of all seeds.
    """

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
        """Whether the prediction is `right` or `wrong`; `open` if the utterance has no label or no prediction."""
        if self.label is None or self.predicted is None:
            return "open"
        return "right" if self.label == self.predicted else "wrong"


@dataclass(frozen=True)
class TimelineView:
    """A conversation, drawn with one row per speaker and one column per utterance.

    Attributes:
        experiment: name of the run whose predictions are shown.
        turns: the utterances that are shown.
        cut: number of utterances at the end of the conversation that are not shown.
        changes: how often the true emotion changes from one utterance to the next.
    """

    corpus: str
    dialogue: str
    experiment: str
    speakers: tuple[str, ...]
    turns: tuple[Turn, ...]
    cut: int
    changes: int

    @property
    def right(self) -> int:
        """Number of shown utterances whose prediction equals the true label."""
        return sum(turn.state == "right" for turn in self.turns)

    @property
    def judged(self) -> int:
        """Number of shown utterances that have both a true label and a prediction."""
        return sum(turn.state != "open" for turn in self.turns)


def timeline_view(best: Run, manifest: Manifest | None) -> TimelineView | None:
    """Choose a test conversation, and put the predictions of a run beside its utterances.

    Args:
        best: the run with the best validation score.
        manifest: manifest of the corpus; None if it is absent.

    Returns:
        The conversation; None if there is no manifest, or the run stores no predictions of its test utterances.
    """
    majorities = _majorities(best)
    if manifest is None or not majorities:
        return None
    dialogues: dict[str, list[Utterance]] = {}
    for utterance in manifest.utterances:
        dialogues.setdefault(utterance.dialogue, []).append(utterance)
    shown = {d: us for d, us in dialogues.items() if any(u.id in majorities for u in us)}
    if not shown:
        return None
    dialogue = choose_dialogue(shown, best.record.label_set)
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


def _majorities(run: Run) -> "dict[str, MajorityVote]":
    """Find the class that most seeds predict, for each test utterance.

    Returns:
        Utterance id -> class that most seeds predict, with its votes; empty if the predictions are absent or damaged.
    """
    from fusion.runs.predictions import (
        read_majority_votes,  # imports torch, which a page without runs does not need
    )

    try:
        return read_majority_votes(run.folder, "test")
    except ErcacheError:
        return {}


def choose_dialogue(dialogues: Mapping[str, Sequence[Utterance]], label_set: str) -> str:
    """Choose the dialogue that the report shows, by its true labels. Predictions play no role.

    Candidates are the dialogues of 6 to 14 utterances. If there are none, the dialogues of the closest length are. The
    report shows the candidate whose label changes most often; among equal ones, the one with most speakers.

    Args:
        dialogues: name of the dialogue -> its utterances.
        label_set: name of the label set.

    Returns:
        The name of the dialogue.
    """

    def rank(dialogue: str) -> tuple[int, int, int]:
        utterances = dialogues[dialogue]
        outside = max(SHORTEST - len(utterances), len(utterances) - LONGEST, 0)
        speakers = len({u.speaker for u in utterances})
        return (outside, -changes_of(utterances, label_set), -speakers)

    return min(dialogues, key=rank)


def changes_of(utterances: Sequence[Utterance], label_set: str) -> int:
    """Count how often the true label differs from the label of the previous labelled utterance."""
    ordered = sorted(utterances, key=lambda u: u.index)
    labels = [label for u in ordered if (label := u.labels.get(label_set)) is not None]
    return sum(a != b for a, b in pairwise(labels))


def _turn(number: int, utterance: Utterance, label_set: str, majority: "MajorityVote | None") -> Turn:
    return Turn(
        number=number,
        id=utterance.id,
        speaker=utterance.speaker,
        text=utterance.text or "(no transcript)",
        # In a multi-label task, the manifest has no single label set; the predictions hold the labels as text.
        label=utterance.labels.get(label_set, majority.label if majority else None),
        predicted=majority.predicted if majority else None,
        votes=majority.votes if majority else 0,
        seeds=majority.seeds if majority else 0,
        probability=majority.probability if majority else None,
    )
