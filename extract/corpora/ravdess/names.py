"""Parse the file names of RAVDESS: seven fields of two digits each, such as `01-01-03-01-01-01-01.mp4`.

The fields are medium, channel (speech or song), emotion, intensity, statement, repetition and actor.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ercache.manifest import Problem
from extract.corpora.common.copies import Copies
from extract.corpora.common.listing import FolderListing, counted, list_some

EMOTIONS: Final = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CHANNELS: Final = ("speech", "song")
INTENSITIES: Final = ("normal", "strong")
STATEMENTS: Final = ("Kids are talking by the door.", "Dogs are sitting by the door.")
# Named and ordered as in CREMA-D; the two corpora share these six emotions.
SHARED: Final = {
    "angry": "anger",
    "disgust": "disgust",
    "fearful": "fear",
    "happy": "happy",
    "neutral": "neutral",
} | {"sad": "sad"}
LABEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "emotion8": EMOTIONS,
    "emotion7": tuple(e for e in EMOTIONS if e != "calm"),  # calm is neutral
    "emotion6": tuple(SHARED.values()),
    "intensity": INTENSITIES,
    "channel": CHANNELS,
}
FIELDS: Final = ("medium", "channel", "emotion", "intensity", "statement", "repetition", "actor")
_MAX_VALUE: Final = {
    "medium": 3,
    "channel": 2,
    "emotion": 8,
    "intensity": 2,
    "statement": 2,
    "repetition": 2,
    "actor": 24,
}
SUFFIXES: Final = {"01": ".mp4", "02": ".mp4", "03": ".wav"}
ACTORS: Final = tuple(f"{n:02d}" for n in range(1, 25))
# channel -> emotion -> performances of each actor; emotions except neutral have both intensities.
PER_ACTOR: Final = {"speech": dict.fromkeys(EMOTIONS, 8) | {"neutral": 4}}
PER_ACTOR["song"] = {e: n for e, n in PER_ACTOR["speech"].items() if e not in ("disgust", "surprised")}
NO_SONG: Final = "18"


@dataclass(frozen=True)
class Performance:
    """One performance of an actor, which has up to three media files.

    Attributes:
        id: the file name without suffix and without the first field (the medium).
        channel: `speech` or `song`.
        text: the sentence that the actor speaks or sings.
        files: medium (01, 02 or 03) -> path of the file.
    """

    id: str
    channel: str
    emotion: str
    intensity: str
    text: str
    actor: str
    files: Mapping[str, str]


def faults_of(name: str) -> list[str]:
    """Return messages about what is wrong with a file name (with suffix); an empty list for a RAVDESS name."""
    stem, dot, suffix = name.rpartition(".")
    fields = dict(zip(FIELDS, stem.split("-"), strict=False))
    if not re.fullmatch(r"\d\d(?:-\d\d){6}", stem, re.ASCII):
        return ["is not seven fields of two digits, MM-VV-EE-II-SS-RR-AA"]
    wrong = [
        f"{field} {value} is not 01 to {_MAX_VALUE[field]:02d}"
        for field, value in fields.items()
        if not 1 <= int(value) <= _MAX_VALUE[field]
    ]
    if wrong:
        return wrong
    if (dot + suffix).lower() != SUFFIXES[fields["medium"]]:
        wrong.append(f"medium {fields['medium']} is a {SUFFIXES[fields['medium']]} file")
    if fields["emotion"] == "01" and fields["intensity"] == "02":
        wrong.append("neutral is never strong")
    if fields["channel"] == "02" and fields["emotion"] in ("07", "08"):
        wrong.append(f"{EMOTIONS[int(fields['emotion']) - 1]} is never sung")
    if fields["channel"] == "02" and fields["actor"] == NO_SONG:
        wrong.append(f"actor {NO_SONG} does not sing")
    return wrong


def find_performances(folder: FolderListing) -> tuple[list[Performance], list[Problem], dict[str, str]]:
    """Find the media files in a folder by their names, and group them into performances.

    Of several files with the same name, the one in the folder of its own actor is used, or else the one nearest to the
    root.

    Returns:
        Three values: the performances, sorted by id; problems for the manifest; and a dict from the path of each unused
        copy to the path of the file that is used instead.
    """
    copies: Copies[tuple[str, str]] = Copies()
    strangers: list[str] = []
    misfiled: list[str] = []
    for path in folder.files:
        place_of, _, name = path.rpartition("/")
        if not name.lower().endswith((".mp4", ".wav")):
            continue
        wrong = faults_of(name)
        stem = name[:-4]
        if wrong:
            strangers.append(f"{path}: {'; '.join(wrong)}")
            continue
        actor = re.search(r"actor_?(\d\d)$", place_of, re.I | re.ASCII)
        elsewhere = actor is not None and actor[1] != stem[-2:]
        if elsewhere:
            misfiled.append(f"{path}: its name says actor {stem[-2:]}")
        copies.add((stem[3:], stem[:2]), path, 2 if elsewhere else 0 if actor else 1)
    problems = [
        *_note("not_a_clip_name", "file", "with another name", strangers),
        *_note("other_folder", "file", "in the folder of another actor", misfiled),
        *_note("archives", "archive", "perhaps not unpacked yet", folder.archives()),
    ]
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for (performance, medium), path in copies.chosen.items():
        files[performance][medium] = path
    return [_performance(name, files[name]) for name in sorted(files)], problems, copies.duplicates


def _note(reason: str, noun: str, what: str, found: Sequence[str]) -> list[Problem]:
    detail = f"{counted(len(found), noun)} {what}: {list_some(found)}"
    return [Problem(None, "note", reason, detail)] if found else []


def _performance(name: str, files: Mapping[str, str]) -> Performance:
    channel, emotion, intensity, statement, _, actor = name.split("-")
    return Performance(
        id=name,
        channel=CHANNELS[int(channel) - 1],
        emotion=EMOTIONS[int(emotion) - 1],
        intensity=INTENSITIES[int(intensity) - 1],
        text=STATEMENTS[int(statement) - 1],
        actor=actor,
        files=files,
    )
