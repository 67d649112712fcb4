"""Facts about IEMOCAP: its label sets, its counts, and the lists of dialogues and turns that published systems use."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ercache.manifest import Problem
from extract.corpora.iemocap.turns import CODES, IemocapTurn

SESSIONS: Final = ("Ses01", "Ses02", "Ses03", "Ses04", "Ses05")
TEST_SESSION: Final = "Ses05"
FRAMES_PER_SECOND: Final = 30000 / 1001
_SIX: Final = ("hap", "sad", "neu", "ang", "exc", "fru")
LABEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "six": _SIX,  # order of ICON, DialogueRNN, COSMIC and their successors
    "six_majority": _SIX,
    "four": ("ang", "hap", "neu", "sad"),  # order of MEmoBert
    "four_without_exc": ("ang", "hap", "neu", "sad"),
    "nine": (*_SIX, "sur", "fea", "dis"),
}
# Majority labels of all 10,039 turns, counted on the full release (annotation in tae898/multimodal-datasets 57bac101).
COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    session: dict(zip(("dialogues", "turns", *CODES), numbers, strict=True))
    for session, numbers in {
        "Ses01": (28, 1819, 229, 135, 143, 194, 384, 280, 25, 12, 1, 1, 415),
        "Ses02": (30, 1811, 137, 117, 210, 197, 362, 325, 17, 9, 0, 1, 436),
        "Ses03": (32, 2136, 240, 135, 151, 305, 320, 382, 28, 2, 1, 0, 572),
        "Ses04": (30, 2103, 327, 65, 238, 143, 258, 481, 19, 7, 0, 1, 564),
        "Ses05": (31, 2170, 170, 143, 299, 245, 384, 381, 18, 10, 0, 0, 520),
    }.items()
}
HAPPY_IN_PUBLISHED: Final[Mapping[str, int]] = dict(zip(SESSIONS, (8, 8, 36, 0, 1), strict=True))
# Turns of the set `four` by speaker: ang, hap and exc, neu, sad.
FOUR_BY_SPEAKER: Final[Mapping[str, tuple[int, int, int, int]]] = {
    "Ses01F": (147, 132, 171, 78),
    "Ses01M": (82, 146, 213, 116),
    "Ses02F": (67, 166, 135, 113),
    "Ses02M": (70, 161, 227, 84),
    "Ses03F": (92, 128, 130, 172),
    "Ses03M": (148, 158, 190, 133),
    "Ses04F": (205, 185, 76, 62),
    "Ses04M": (122, 118, 182, 81),
    "Ses05F": (78, 159, 221, 132),
    "Ses05M": (92, 283, 163, 113),
}
# Validation dialogues of the features that COSMIC distributes (declare-lab/conv-emotion 6128ca20).
VALIDATION: Final = (
    *("Ses01M_impro01", "Ses01M_script03_1", "Ses02F_impro02", "Ses02F_impro07", "Ses02M_script01_2"),
    *("Ses03F_impro01", "Ses03M_impro02", "Ses03M_impro08a", "Ses03M_script02_2", "Ses03M_script03_2"),
    *("Ses04F_impro07", "Ses04F_script02_1"),
)


def is_happy_in_published(turn: IemocapTurn) -> bool:
    """Return whether a turn is one of the 53 that have no majority label, but that published feature files call happy.

    In these turns the actors rated themselves happy and nothing else, and at least one outside rater said happy.
    """
    return turn.label == "xxx" and turn.own == {"happiness"} and "happiness" in turn.votes


def labels_of(turn: IemocapTurn) -> dict[str, str | None]:
    """Return a dict from label set to the turn's label; None if the label set does not contain the turn's class."""
    merged = {"exc": "hap"}.get(turn.label, turn.label)
    given = {
        "six": "hap" if is_happy_in_published(turn) else turn.label,
        "six_majority": turn.label,
        "four": merged,
        "four_without_exc": turn.label,
        "nine": turn.label,
    }
    return {name: given[name] if given[name] in values else None for name, values in LABEL_SETS.items()}


def notes_of_counts(dialogues: Mapping[str, Sequence[IemocapTurn]]) -> list[Problem]:
    """Return notes on counts that differ from the release, one note per session, speaker or label set.

    Args:
        dialogues: dialogue -> turns of the dialogue.
    """
    return [Problem(None, "note", "count_differs", line) for line in _differences(dialogues)]


def _differences(dialogues: Mapping[str, Sequence[IemocapTurn]]) -> Iterator[str]:
    turns = [turn for of_dialogue in dialogues.values() for turn in of_dialogue]
    for session, expected in COUNTS.items():
        here = [turn for turn in turns if turn.session == session]
        if not here:
            continue  # reported as an absent session
        found = Counter(turn.label for turn in here)
        found["dialogues"] = sum(name.startswith(session) for name in dialogues)
        found["turns"] = len(here)
        unlike = [f"{found[k]} {k} ({n})" for k, n in expected.items() if found[k] != n]
        number = sum(map(is_happy_in_published, here))
        if number != HAPPY_IN_PUBLISHED[session]:
            unlike.append(f"{number} more hap in the set six ({HAPPY_IN_PUBLISHED[session]})")
        if unlike:
            yield f"{session}, in brackets the release: {', '.join(unlike)}"
        elif _by_speaker(here, f"{session}F") != FOUR_BY_SPEAKER[f"{session}F"]:
            yield f"{session}: turns of ang, hap, neu, sad by speaker are not those of the release"


def _by_speaker(turns: Sequence[IemocapTurn], speaker: str) -> tuple[int, ...]:
    count = Counter(labels_of(turn)["four"] for turn in turns if turn.speaker == speaker)
    return tuple(count[value] for value in LABEL_SETS["four"])
