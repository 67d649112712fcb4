"""Facts about DailyDialog: its labels, its counts, and how to recognise its tokenized texts (`do n't , you ?`).

Sources: the release's own readme.txt (numbers of emotions and acts; a copy is in snakeztc/NeuralDialog-LAED,
data/daily_dialog); the card and the loader of huggingface/datasets, datasets/daily_dialog (columns, class 0 of the
acts, 11,118 / 1,000 / 1,000 dialogues); README of felicitywang/TFMTL (102,979 turns in all); Wen et al.,
arXiv 2201.06219 (dialogues that are both in train and in test).
"""

import re
from typing import Final

EMOTIONS: Final = (
    "no emotion",
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
)  # numbers 0 to 6
ACTS: Final = ("inform", "question", "directive", "commissive")  # numbers 1 to 4
LABEL_SETS: Final = {"emotion7": EMOTIONS, "emotion6": EMOTIONS[1:], "act": ACTS}
FOLDERS: Final = {"train": "train", "dev": "validation", "test": "test"}  # part -> name in the release
DIALOGUES: Final = {"train": 11118, "dev": 1000, "test": 1000}
TURNS: Final = 102979
SPEAKERS: Final = ("A", "B")  # they take turns; the corpus gives no names

_BEFORE_MARK: Final = re.compile(r"\s[.,!?;:](?:\s|$)|\s[’'] ?(?:s|t|re|ve|ll|m|d)\b", re.IGNORECASE)


def labels_of(emotion: str | None, act: str | None) -> dict[str, str | None]:
    """Return a turn's label in each label set. `emotion6` has no class "no emotion": its label is then None.

    Args:
        emotion: emotion of the turn; None if unknown.
        act: dialogue act of the turn; None if unknown.
    """
    return {
        "emotion7": emotion,
        "emotion6": None if emotion == EMOTIONS[0] else emotion,
        "act": act,
    }


def emotion_of(number: int) -> str | None:
    """Return the emotion for a number (0 to 6) in the release; None for any other number."""
    return EMOTIONS[number] if 0 <= number < len(EMOTIONS) else None


def act_of(number: int) -> str | None:
    """Return the dialogue act for a number (1 to 4) in the release; None for any other number."""
    return ACTS[number - 1] if 1 <= number <= len(ACTS) else None


def has_stray_blanks(text: str) -> bool:
    """Return whether a text has blanks before punctuation, as in the release's tokenized texts (`do n't , you ?`)."""
    return _BEFORE_MARK.search(text) is not None
