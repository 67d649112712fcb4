"""Facts about DailyDialog: its labels, its counts, and the blanks of its tokenized texts.

Sources: the release's own readme.txt (numbers of emotions and acts; a copy is in snakeztc/NeuralDialog-LAED,
data/daily_dialog); the card and the loader of huggingface/datasets, datasets/daily_dialog (columns, class 0 of the
acts, 11,118 / 1,000 / 1,000 dialogues). 102,979 turns in all: README of felicitywang/TFMTL.
Overlapping parts: Wen et al., arXiv 2201.06219.
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
    """Return the labels of a turn in each label set."""
    return {
        "emotion7": emotion,
        "emotion6": None if emotion == EMOTIONS[0] else emotion,
        "act": act,
    }


def emotion_of(number: int) -> str | None:
    """Return the emotion with a number of the release; None if there is none."""
    return EMOTIONS[number] if 0 <= number < len(EMOTIONS) else None


def act_of(number: int) -> str | None:
    """Return the act with a number of the release; None if there is none."""
    return ACTS[number - 1] if 1 <= number <= len(ACTS) else None


def has_stray_blanks(text: str) -> bool:
    """Whether a text has blanks before punctuation marks, as the tokenized texts of the release do."""
    return _BEFORE_MARK.search(text) is not None
