"""Facts about CREMA-D: the codes in its file names, its label sets and counts, and its defective files."""

import re
from typing import Final

from extract.corpora.cremad.ratings import CHANNELS

EMOTIONS: Final = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
SENTENCES: Final = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LEVELS: Final = {"LO": "low", "MD": "medium", "HI": "high"}  # XX is unspecified: no label
# `emotion6` is the emotion that the actor was asked to act; the perceived sets are the raters' majority.
LABEL_SETS: Final = {
    "emotion6": tuple(EMOTIONS.values()),
    **dict.fromkeys(CHANNELS, tuple(EMOTIONS.values())),
    "intensity": tuple(LEVELS.values()),
}
COUNTS: Final = {
    "emotion6": {"anger": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    "intensity": dict.fromkeys(LEVELS.values(), 455),
}
ACTORS: Final = range(1001, 1092)
# One old copy of a file has a name with a single X.
_NAME: Final = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(?:LO|MD|HI|XX|X)", re.ASCII)
FOLDERS: Final = {".flv": "VideoFlash", ".wav": "AudioWAV"}
# Clips that decode but do not show what their names say (issue #8 of the repository, and file sizes).
WRONG_VIDEO: Final = {
    "1076_MTI_SAD_XX": "shows an error picture",
    "1076_MTI_NEU_XX": "35 kB, no usable picture",
    "1064_IEO_DIS_MD": "a minute with all emotions",
}
WRONG_SOUND: Final = {"1076_MTI_SAD_XX": "silent"}
SAME_SOUND: Final = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)


def is_clip(stem: str) -> bool:
    """Return whether a file name without suffix is the name of a CREMA-D clip, such as `1001_DFA_ANG_XX`."""
    match = _NAME.fullmatch(stem)
    return bool(match and int(match[1]) in ACTORS and match[2] in SENTENCES and match[3] in EMOTIONS)
