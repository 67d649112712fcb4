"""Facts about EmoryNLP: its labels, its counts, and the pattern of its utterance ids (`s01_e02_c01_u002`).

Sources: README of emorynlp/emotion-detection (emotions, counts of the JSON files, an example of an utterance) and the
script of the same group that writes these files (episodes, scenes, utterances; utterances without tokens are left out);
emorynlp_train_final.csv as stored in declare-lab/MELD at a0e05898 (columns, ids, speakers as a printed list, `#ALL#`).
"""

import re
from typing import Final

EMOTIONS: Final = ("Neutral", "Joyful", "Peaceful", "Powerful", "Scared", "Mad", "Sad")  # order of the README
SENTIMENTS: Final = ("neutral", "positive", "negative")
LABEL_SETS: Final = {"emotion7": EMOTIONS, "sentiment3": SENTIMENTS}
# Scenes and utterances of the JSON files. The csv files hold fewer; their counts are not published with them.
COUNTS: Final = {"train": (713, 9934), "dev": (99, 1344), "test": (85, 1328)}
ID: Final = re.compile(r"(s\d{2}_e\d{2}_c\d{2,3})_u(\d{3,4})", re.ASCII)
GROUP: Final = re.compile(r"#\w+#|\band\b|^(all|both|everyone)$", re.IGNORECASE)

_EMOTION_OF: Final = {emotion.casefold(): emotion for emotion in EMOTIONS}


def emotion_of(word: str) -> str | None:
    """Return the emotion that a word names, in upper or lower case; None if it is none of the seven emotions."""
    return _EMOTION_OF.get(word.strip().casefold())


def labels_of(emotion: str | None) -> dict[str, str | None]:
    """Return an utterance's label in each label set, computed from its emotion (None if it is unknown).

    In `sentiment3`, joyful, peaceful and powerful are positive; scared, mad and sad are negative.
    """
    if emotion is None:
        return {"emotion7": None, "sentiment3": None}
    position = EMOTIONS.index(emotion)
    return {"emotion7": emotion, "sentiment3": SENTIMENTS[0 if position == 0 else 1 if position < 4 else 2]}


def id_of(season: int, episode: int, scene: int, utterance: int) -> str:
    """Return the id that the JSON files give to an utterance, made from its four numbers: `s01_e02_c01_u002`."""
    return f"s{season:02}_e{episode:02}_c{scene:02}_u{utterance:03}"
