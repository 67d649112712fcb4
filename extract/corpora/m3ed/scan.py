"""Scan the texts of M3ED (Zhao et al., ACL 2022): 990 Chinese dialogues of two people, from 56 television series."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ercache.manifest import Manifest
from extract.corpora.common.entry import CorpusEntry, NoSwitches, ScanProgress
from extract.corpora.common.listing import counted, list_folder, list_some
from extract.corpora.common.text_corpus import PARTS, TextParts, manifest_of_texts, refuse
from extract.corpora.m3ed.annotation import (
    EMOTIONS,
    M3edDialogue,
    find_annotation,
    read_annotation,
    read_parts,
)

LABEL_SETS: Final = {"emotion7": EMOTIONS}
COUNTS: Final = {"dialogues": 990, "utterances": 24449, "series": 56}  # abstract of the paper
HOW: Final = (
    "give the folder of github.com/AIM3-RUC/RUCM3ED, with its annotation.json and the folder splitInfo"
)
_EMOTION_OF: Final = {emotion.casefold(): emotion for emotion in EMOTIONS}


def scan(root: Path, switches: NoSwitches, progress: ScanProgress | None = None) -> Manifest:
    """Read M3ED's annotation and its lists of series, and return the manifest.

    The annotated times are not used, because the media files are not published with the annotation.

    Raises:
        CorpusError: the annotation or a list is absent or unusable, or a series is in no list; the error lists all
            faults.
    """
    folder = list_folder(root)
    found = TextParts()
    path = find_annotation(folder, found)
    parts = read_parts(folder, found)
    dialogues = read_annotation(folder, path, found) if path else []
    _check(dialogues, parts, found)
    if not found.faults:
        _add(dialogues, parts, found)
    refuse("m3ed", folder, found, HOW)
    return manifest_of_texts(
        "m3ed", "annotation as found", folder, found, LABEL_SETS, ("speaker", "dialogue")
    )


def _check(dialogues: Sequence[M3edDialogue], parts: Mapping[str, str], found: TextParts) -> None:
    """Add faults that show only when all files are compared to `found.faults`.

    They are series that are in no list, names that are used twice, and a corpus without any known emotion.
    """
    series = {dialogue.series for dialogue in dialogues}
    listless = sorted(series - parts.keys())
    if listless and parts:
        found.faults.append(f"no list of splitInfo names {list_some(listless)}, so that its part is unknown")
    ids = [turn.id for dialogue in dialogues for turn in dialogue.turns]
    names = [dialogue.id for dialogue in dialogues]
    for what, every in (("utterance", ids), ("dialogue", names)):
        twice = [name for name, n in Counter(every).items() if n > 1]
        if twice:
            found.faults.append(f"{counted(len(twice), what + ' name')} used twice: {list_some(twice)}")
    if ids and not any(_emotion(t.emotion) for dialogue in dialogues for t in dialogue.turns):
        found.faults.append("no utterance has one of the seven emotions")


def _emotion(word: str) -> str | None:
    return _EMOTION_OF.get(word.casefold())


def _add(dialogues: Sequence[M3edDialogue], parts: Mapping[str, str], found: TextParts) -> None:
    for part in PARTS:
        for dialogue in (d for d in dialogues if parts[d.series] == part):
            found.add_dialogue(
                part,
                dialogue.id,
                [(turn.id, turn.speaker, turn.text) for turn in dialogue.turns],
                [{"emotion7": _emotion(turn.emotion)} for turn in dialogue.turns],
            )
    _add_notes(dialogues, parts, found)


def _add_notes(dialogues: Sequence[M3edDialogue], parts: Mapping[str, str], found: TextParts) -> None:
    """Add notes that count deviations from the release, such as unknown emotions or missing series.

    Only the order of utterances has been corrected; everything else stays as in the file.
    """
    words = [turn.emotion for dialogue in dialogues for turn in dialogue.turns]
    strange = [word for word in words if word and not _emotion(word)]
    if strange:
        told = f"not one of the seven emotions: {list_some(sorted(set(strange)))}"
        found.note("unreadable_label", told, len(strange))
    unlabelled = words.count("")
    if unlabelled:
        found.note("no_label", f"{counted(unlabelled, 'utterance')} without final_main_emo", unlabelled)
    reordered = [dialogue.id for dialogue in dialogues if dialogue.reordered]
    if reordered:
        found.note("not_in_order", f"put in the order of their numbers: {list_some(reordered)}")
    empty = [dialogue.id for dialogue in dialogues if not dialogue.turns]
    if empty:
        found.note("left_out", f"{counted(len(empty), 'dialogue')} without utterances: {list_some(empty)}")
    absent = sorted(parts.keys() - {dialogue.series for dialogue in dialogues})
    if absent:
        told = f"{len(absent)} series of splitInfo are not in the annotation: {list_some(absent)}"
        found.note("not_in_annotation", told)
    here = {
        "dialogues": len(dialogues) - len(empty),
        "utterances": len(words),
        "series": len({dialogue.series for dialogue in dialogues}),
    }
    for what, expected in COUNTS.items():
        if here[what] != expected:
            found.note("count_differs", f"{here[what]} {what}, the release has {expected}")


ENTRY: Final = CorpusEntry(
    key="m3ed",
    name="M3ED: Multi-modal Multi-scene Multi-label Emotional Dialogue Database, its texts (Chinese)",
    modalities=("text",),
    parts=PARTS,
    label_sets=LABEL_SETS,
    licence="see its repository; for research",
    how_to_get="github.com/AIM3-RUC/RUCM3ED: annotation.json and the folder splitInfo, together in one folder",
    Switches=NoSwitches,
    scan=scan,
)
