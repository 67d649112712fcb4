"""Read DailyDialog's text files. Each line is a dialogue, and `__eou__` ends each of its turns.

Two further files hold the emotions and the dialogue acts, with one line of numbers for each dialogue.
"""

from dataclasses import dataclass
from typing import Final

from extract.corpora.common.listing import FolderListing
from extract.corpora.common.text_corpus import TextParts, choose_file, read_text
from extract.corpora.dailydialog.facts import FOLDERS

END_OF_TURN: Final = "__eou__"
KINDS: Final = (
    "dialogues_",
    "dialogues_emotion_",
    "dialogues_act_",
)  # beginnings of the three file names of a part


@dataclass(frozen=True)
class RawDialogue:
    """A dialogue as it is written in the release, before its labels are checked.

    Attributes:
        where: path of the file, with the line or row of the dialogue, for messages.
        texts: texts of the turns, without blanks at their ends.
        emotions, acts: label numbers, which should be one per turn. -1 stands for a label that is not a number.
    """

    where: str
    texts: tuple[str, ...]
    emotions: tuple[int, ...]
    acts: tuple[int, ...]


def has_lines(folder: FolderListing) -> bool:
    """Return whether a folder holds at least one text file of the release, for example `dialogues_train.txt`."""
    return any(folder.files_named(kind + name + ".txt") for kind in KINDS for name in FOLDERS.values())


def read_lines(folder: FolderListing, part: str, found: TextParts) -> list[RawDialogue]:
    """Read the dialogues of one subset (train, dev or test) from its three text files: texts, emotions and acts.

    If a file is absent, or the files differ in their number of lines, the list is empty, and messages are added to
    `found.faults`.
    """
    names = [kind + FOLDERS[part] + ".txt" for kind in KINDS]
    paths = [choose_file(folder, name, found) for name in names]
    found.faults += [
        f"{name} is nowhere below this folder"
        for name, path in zip(names, paths, strict=True)
        if path is None
    ]
    texts = [read_text(folder, path, found) for path in paths if path is not None]
    if len(texts) < len(names) or None in texts:
        return []
    empty = [path for path, text in zip(paths, texts, strict=True) if not (text or "").strip()]
    found.faults += [f"{path}: holds no line" for path in empty]
    if empty:
        return []
    words, emotions, acts = ((text or "").rstrip().split("\n") for text in texts)
    if not len(words) == len(emotions) == len(acts):
        found.faults.append(
            f"{part}: {names[0]} has {len(words)} lines, {names[1]} {len(emotions)}, {names[2]} {len(acts)}; "
            "which labels belong to which dialogue is unknown"
        )
        return []
    return [
        RawDialogue(f"{paths[0]}, line {number}", turns_of(line), numbers_of(emotion), numbers_of(act))
        for number, (line, emotion, act) in enumerate(zip(words, emotions, acts, strict=True), start=1)
    ]


def turns_of(line: str) -> tuple[str, ...]:
    """Split the line of a dialogue into the texts of its turns. The `__eou__` after the last turn may be missing."""
    *turns, rest = (turn.strip() for turn in line.split(END_OF_TURN))
    return (*turns, rest) if rest else tuple(turns)


def numbers_of(line: str) -> tuple[int, ...]:
    """Return the label numbers of a dialogue from a line such as `0 0 4`; -1 for a word that is not a number."""
    return tuple(int(word) if word.isascii() and word.isdigit() else -1 for word in line.split())
