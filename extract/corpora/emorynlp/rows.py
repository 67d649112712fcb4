"""Read EmoryNLP's utterances from either of its two forms: csv files or JSON files."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from extract.corpora.common.listing import FolderListing
from extract.corpora.common.text_corpus import TextParts, read_rows, read_text
from extract.corpora.emorynlp.facts import ID, id_of

NUMBERS: Final = ("Season", "Episode", "Scene_ID", "Utterance_ID")
COLUMNS: Final = ("Utterance", "Speaker", "Emotion", *NUMBERS)
_NUMBER: Final = re.compile(r"\s*(\d{1,4})(?:\.0)?\s*", re.ASCII)


@dataclass(frozen=True)
class EmoryRow:
    """An utterance as it is written in the csv or JSON file, before its emotion is checked.

    Attributes:
        id: season, episode, scene and utterance, for example `s01_e02_c01_u002`.
        speakers: names of the speakers; empty if the file names nobody.
        emotion: the emotion as the file writes it; empty if it gives none.
    """

    id: str
    speakers: tuple[str, ...]
    text: str
    emotion: str


def read_csv(folder: FolderListing, path: str, found: TextParts) -> list[EmoryRow]:
    """Read the utterances in a csv file. A message about each unreadable row is added to `found.faults`."""
    rows = []
    for number, line in enumerate(read_rows(folder, path, COLUMNS, found), start=2):
        faults = list(_faults(line))
        found.faults += [f"{path}, row {number}: {fault}" for fault in faults]
        if not faults:
            rows.append(_row(line))
    return rows


def _faults(line: Mapping[str, Any]) -> Iterator[str]:
    if None in line or None in line.values():
        yield "has another number of fields than the header"
        return
    for column in NUMBERS:
        if not _NUMBER.fullmatch(line[column]):
            yield f"{column} {line[column]!r} is not a whole number"
    if speakers_of(line["Speaker"]) is None:
        yield f"Speaker {line['Speaker']!r} is not a list of names"


def _row(line: Mapping[str, str]) -> EmoryRow:
    season, episode, scene, utterance = (int(float(line[column])) for column in NUMBERS)
    speakers = speakers_of(line["Speaker"]) or ()
    return EmoryRow(
        id_of(season, episode, scene, utterance), speakers, line["Utterance"].strip(), line["Emotion"].strip()
    )


def speakers_of(cell: str) -> tuple[str, ...] | None:
    """Return the speakers' names in a csv cell, which holds a printed list (`['Ross Geller']`) or a single name.

    None if the cell begins like a list but is not a list of texts.
    """
    cell = cell.strip()
    if not cell.startswith("["):
        return (cell,) if cell else ()
    try:
        names = ast.literal_eval(cell)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return _names(names)


def _names(names: object) -> tuple[str, ...] | None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(name.strip() for name in names if name.strip())


def read_json(folder: FolderListing, path: str, found: TextParts) -> list[EmoryRow]:
    """Read the utterances in a JSON file, which lists episodes, the scenes of each, and the utterances of each scene.

    Messages about deviations from the published format are added to `found.faults`.
    """
    content = read_text(folder, path, found)
    if content is None:
        return []
    try:
        release = json.loads(content)
    except (ValueError, RecursionError) as error:
        found.faults.append(f"{path}: not readable JSON ({str(error)[:80]})")
        return []
    rows = []
    for place, utterance in _utterances(release, path, found):
        row = _of_json(utterance)
        if isinstance(row, str):
            found.faults.append(f"{place}: {row}")
        else:
            rows.append(row)
    return rows


def _utterances(release: object, path: str, found: TextParts) -> Iterator[tuple[str, object]]:
    for episode_place, episode in _members(release, "episodes", path, found):
        for scene_place, scene in _members(episode, "scenes", episode_place, found):
            yield from _members(scene, "utterances", scene_place, found)


def _members(parent: object, key: str, place: str, found: TextParts) -> Iterator[tuple[str, object]]:
    members = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(members, list):
        found.faults.append(f"{place}: has no list of {key}; is it EmoryNLP's file?")
        return
    for number, member in enumerate(members, start=1):
        yield f"{place}, {key.removesuffix('s')} {number}", member


def _of_json(utterance: object) -> EmoryRow | str:
    """Convert an utterance of the JSON file to an `EmoryRow`; if it is faulty, return a message that says why."""
    if not isinstance(utterance, dict):
        return "is not an utterance"
    name, text, emotion = (utterance.get(k, "") for k in ("utterance_id", "transcript", "emotion"))
    if not isinstance(name, str) or not ID.fullmatch(name):
        return f"utterance_id {name!r} is not like s01_e02_c01_u002"
    speakers = _names(utterance.get("speakers", []))
    if speakers is None or not isinstance(text, str) or not isinstance(emotion, str | None):
        return f"{name}: its speakers, transcript or emotion are not as published"
    return EmoryRow(name, speakers, text.strip(), (emotion or "").strip())
