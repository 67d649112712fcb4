"""Read M3ED's annotation and its lists of series. Everything that deviates from the published format is reported.

The annotation is JSON: series -> dialogue (`anjia_1`) -> `SpeakerInfo` (A, B -> `Name`) and `Dialog`: utterance
(`anjia_1_1`) -> `Text`, `Speaker`, `StartTime`, `EndTime`, `EmoAnnotation` with `final_main_emo`. The lists
`movie_list_train.txt` and so on hold one series per line.

Sources: in AIM3-RUC/RUCM3ED the folder splitInfo (the lists) and `relation_annotation_release.json` (names of series
and dialogues). The annotation itself was not available when this file was written. Its fields, and the order of
utterances by the last number in their names, are taken from other projects that read `annotation.json`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from extract.corpora.common.listing import FolderListing, list_some
from extract.corpora.common.text_corpus import TextParts, choose_file, read_text

NAMES: Final = (
    "annotation.json",
    "M3ED.json",
    "m3ed_annotation.json",
)  # the first is the one that readers quote
LISTS: Final = {"train": "train", "dev": "val", "test": "test"}  # part -> name in the release
EMOTIONS: Final = (
    "Happy",
    "Surprise",
    "Sad",
    "Disgust",
    "Anger",
    "Fear",
    "Neutral",
)  # order of the paper's abstract
_LAST_NUMBER: Final = re.compile(r".*_(\d{1,4})", re.ASCII)
_FIELDS: Final = ("Text", "Speaker", "EmoAnnotation")


@dataclass(frozen=True)
class M3edTurn:
    """An utterance of the annotation.

    Attributes:
        id: name of the utterance, for example `anjia_1_1`.
        speaker: series and character; without a character's name, dialogue and letter (A, B).
        emotion: the emotion as `final_main_emo` writes it; empty if there is none.
    """

    id: str
    speaker: str
    text: str
    emotion: str


@dataclass(frozen=True)
class M3edDialogue:
    """A dialogue of the annotation.

    Attributes:
        turns: its utterances, in the order of the numbers in their names.
        reordered: whether the file has them in another order.
    """

    id: str
    series: str
    turns: tuple[M3edTurn, ...]
    reordered: bool


def find_annotation(folder: FolderListing, found: TextParts) -> str | None:
    """Return the path of M3ED's annotation file, which may have one of the names in NAMES.

    If no file or several files have such a name, the result is None, and a message is added to `found.faults`.
    """
    paths = [path for name in NAMES if (path := choose_file(folder, name, found)) is not None]
    if len(paths) > 1:
        found.faults.append(f"{list_some(paths)}: which one is the annotation? Keep one of them")
    elif not paths:
        found.faults.append(f"none of {', '.join(NAMES)} is below this folder")
    return paths[0] if len(paths) == 1 else None


def read_parts(folder: FolderListing, found: TextParts) -> dict[str, str]:
    """Read the three lists of series and return a dict from series to its subset (train, dev or test).

    Messages about an absent list, or a series that two lists name, are added to `found.faults`.
    """
    parts: dict[str, str] = {}
    for part, short in LISTS.items():
        path = choose_file(folder, f"movie_list_{short}.txt", found) or _plain_list(folder, short)
        if path is None:
            found.faults.append(f"splitInfo/movie_list_{short}.txt is nowhere below this folder")
            continue
        for series in (read_text(folder, path, found) or "").split():
            if parts.setdefault(series, part) != part:
                found.faults.append(f"{path}: {series} is in {parts[series]}, too")
    return parts


def _plain_list(folder: FolderListing, short: str) -> str | None:
    """Return the path of a list of series with a short name (`train.txt`, `val.txt`, `test.txt`); None if absent.

    It must be in a folder `splitInfo`, because files with such names elsewhere may be anything.
    """
    inside = folder.files_in("splitInfo")
    return next((path for path in inside if path.rpartition("/")[2].lower() == f"{short}.txt"), None)


def read_annotation(folder: FolderListing, path: str, found: TextParts) -> list[M3edDialogue]:
    """Read the dialogues in M3ED's annotation file.

    Messages about deviations from the published format are added to `found.faults`.
    """
    content = read_text(folder, path, found)
    if content is None:
        return []
    try:
        release = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        found.faults.append(f"{path}: not readable JSON ({str(error)[:80]})")
        return []
    return list(_dialogues(release, path, found))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict from the (name, value) pairs of a JSON object, for `json.loads`.

    Raises:
        ValueError: a name occurs twice; Python would silently drop the first value.
    """
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"{name!r} stands twice in one object")
        made[name] = value
    return made


def _dialogues(release: object, path: str, found: TextParts) -> Iterator[M3edDialogue]:
    for series, dialogues in _members(release, path, "an object of series", found):
        for name, dialogue in _members(dialogues, f"{path}, {series}", "an object of dialogues", found):
            said = dialogue.get("Dialog") if isinstance(dialogue, dict) else None
            names = _names(dialogue.get("SpeakerInfo") if isinstance(dialogue, dict) else None)
            turns = []
            for turn, fields in _members(said, f"{path}, {name}", "a dialogue with `Dialog`", found):
                fault = _fault(turn, fields)
                if fault:
                    found.faults.append(f"{path}, {turn}: {fault}")
                else:
                    turns.append(_turn(turn, fields, names, series, name))
            ordered = sorted(turns, key=lambda one: _number(one.id))
            yield M3edDialogue(name, series, tuple(ordered), ordered != turns)


def _members(value: object, where: str, what: str, found: TextParts) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    else:
        found.faults.append(f"{where}: is not {what}; is it M3ED's annotation?")


def _fault(name: str, fields: object) -> str:
    """Return a message that says what is wrong with an utterance of the annotation; an empty text if it is correct."""
    if not _LAST_NUMBER.fullmatch(name):
        return "its name does not end in a number, like anjia_1_1"
    if not isinstance(fields, dict) or any(field not in fields for field in _FIELDS):
        return f"lacks one of {', '.join(_FIELDS)}"
    emotions = fields["EmoAnnotation"]
    if not isinstance(emotions, dict) or "final_main_emo" not in emotions:
        return "EmoAnnotation has no final_main_emo"
    if not all(isinstance(v, str) for v in (fields["Text"], fields["Speaker"])):
        return "Text or Speaker is not a text"
    return "" if isinstance(emotions["final_main_emo"], str | None) else "final_main_emo is not a text"


def _number(name: str) -> int:
    match = _LAST_NUMBER.fullmatch(name)
    return int(match[1]) if match else 0


def _names(info: object) -> dict[str, str]:
    """Return a dict from a speaker's letter (A, B) to the character's name. Letters without a name are left out."""
    if not isinstance(info, dict):
        return {}
    names = {letter: one.get("Name") for letter, one in info.items() if isinstance(one, dict)}
    return {letter: name.strip() for letter, name in names.items() if isinstance(name, str) and name.strip()}


def _turn(name: str, fields: dict[str, Any], names: dict[str, str], series: str, dialogue: str) -> M3edTurn:
    letter = fields["Speaker"].strip()
    # A character of a series keeps its name over dialogues; A and B alone are other people in each dialogue.
    speaker = f"{series}_{names[letter]}" if letter in names else f"{dialogue}_{letter or 'unknown'}"
    return M3edTurn(
        name, speaker, fields["Text"].strip(), (fields["EmoAnnotation"]["final_main_emo"] or "").strip()
    )
