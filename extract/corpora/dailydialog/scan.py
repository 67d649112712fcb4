"""Scan DailyDialog (Li et al., IJCNLP 2017): 13,118 dialogues of two people, from websites for learners of English."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ercache.manifest import Manifest
from extract.corpora.common.entry import CorpusEntry, NoSwitches, ScanProgress
from extract.corpora.common.listing import FolderListing, counted, list_folder, list_some
from extract.corpora.common.text_corpus import (
    PARTS,
    TextParts,
    manifest_of_texts,
    refuse,
)
from extract.corpora.dailydialog.facts import (
    DIALOGUES,
    LABEL_SETS,
    SPEAKERS,
    TURNS,
    act_of,
    emotion_of,
    has_stray_blanks,
    labels_of,
)
from extract.corpora.dailydialog.lines import RawDialogue, has_lines, read_lines
from extract.corpora.dailydialog.tables import read_tables, tables_of

HOW: Final = (
    "give the folder of ijcnlp_dailydialog.zip with train.zip, validation.zip and test.zip inside it unpacked too, or "
    "the parquet files of huggingface.co/datasets/li2017dailydialog/daily_dialog"
)


def scan(root: Path, switches: NoSwitches, progress: ScanProgress | None = None) -> Manifest:
    """Read DailyDialog and return its manifest.

    Only one form is read: the text files of the release, or without them parquet files, or without these csv files.

    Raises:
        CorpusError: train, dev or test is absent or unusable; the error lists all faults.
    """
    folder = list_folder(root)
    found = TextParts()
    version, parts = _read(folder, found)
    for part, dialogues in parts.items():
        _add_part(part, dialogues, found)
    if found.utterances and not any(u.labels["emotion7"] for u in found.utterances):
        found.faults.append("no turn has an emotion from 0 to 6")
    refuse("dailydialog", folder, found, HOW)
    _add_notes(found)
    return manifest_of_texts("dailydialog", version, folder, found, LABEL_SETS, ("dialogue",))


def _read(folder: FolderListing, found: TextParts) -> tuple[str, dict[str, list[RawDialogue]]]:
    """Read train, dev and test in the form that the folder holds.

    Returns:
        Two values: the form (`text files`, `parquet` or `csv`; empty if there is none), and a dict from subset to its
        dialogues.
    """
    others = {suffix: tables_of(folder, suffix) for suffix in ("parquet", "csv")}
    if has_lines(folder):
        unused = [path for tables in others.values() for paths in tables.values() for path in paths]
        if unused:
            found.note("other_form", f"the text files were read, not {list_some(unused)}")
        return "text files", {part: read_lines(folder, part, found) for part in PARTS}
    suffix = next((suffix for suffix, tables in others.items() if tables), None)
    if suffix is None:
        found.faults.append("no dialogues_train.txt and no table of a part is below this folder")
        return "", {}
    tables = others[suffix]
    found.faults += [
        f"no {suffix} file of {part} is below this folder" for part in PARTS if part not in tables
    ]
    return suffix, {part: read_tables(folder, tables[part], found) for part in PARTS if part in tables}


def _add_part(part: str, dialogues: Sequence[RawDialogue], found: TextParts) -> None:
    misfits, empty, unknown, unknown_turns = [], [], [], 0
    for number, dialogue in enumerate(dialogues):
        name = f"{part}_dia{number}"
        turns = len(dialogue.texts)
        emotions = [emotion_of(n) for n in dialogue.emotions]
        acts = [act_of(n) for n in dialogue.acts]
        if not turns:
            empty.append(dialogue.where)
        if turns != len(emotions) or turns != len(acts):
            misfits.append(f"{name} ({turns} turns, {len(emotions)} emotions, {len(acts)} acts)")
        emotions = emotions if turns == len(emotions) else [None] * turns
        acts = acts if turns == len(acts) else [None] * turns
        bad = sum(a is None or b is None for a, b in zip(emotions, acts, strict=True))
        if bad and turns == len(dialogue.emotions) == len(dialogue.acts):
            unknown.append(name)
            unknown_turns += bad
        found.add_dialogue(
            part,
            name,
            [(f"{name}_utt{i}", SPEAKERS[i % 2], text) for i, text in enumerate(dialogue.texts)],
            [labels_of(emotion, act) for emotion, act in zip(emotions, acts, strict=True)],
        )
    if misfits:
        told = f"{part}: labels of {counted(len(misfits), 'dialogue')} left out, as they do not fit the turns"
        found.note("labels_do_not_fit", f"{told}: {list_some(misfits, 4)}")
    if unknown:
        told = f"{part}: an emotion that is not 0 to 6, or an act that is not 1 to 4, in {list_some(unknown)}"
        found.note("unreadable_label", told, unknown_turns)
    if empty:
        found.note("left_out", f"{part}: {counted(len(empty), 'line')} without a turn: {list_some(empty, 4)}")


def _add_notes(found: TextParts) -> None:
    blanks = sum(has_stray_blanks(u.text or "") for u in found.utterances)
    if blanks:
        detail = (
            f"{counted(blanks, 'turn')} with a blank before punctuation (`do n't , you ?`); kept as published"
        )
        found.note("stray_blanks", detail, blanks)
    here = {part: len({u.dialogue for u in found.utterances if u.part == part}) for part in PARTS}
    for part, expected in DIALOGUES.items():
        if here[part] != expected:
            found.note("count_differs", f"{part}: {here[part]} dialogues, the release has {expected}")
    if len(found.utterances) != TURNS:
        found.note("count_differs", f"{len(found.utterances)} turns, the release has {TURNS}")


ENTRY: Final = CorpusEntry(
    key="dailydialog",
    name="DailyDialog",
    modalities=("text",),
    parts=PARTS,
    label_sets=LABEL_SETS,
    licence="CC BY-NC-SA 4.0",
    how_to_get=(
        "ijcnlp_dailydialog.zip from yanran.li/dailydialog, with train.zip, validation.zip and test.zip inside it "
        "unpacked too; or the parquet files of huggingface.co/datasets/li2017dailydialog/daily_dialog"
    ),
    Switches=NoSwitches,
    scan=scan,
)
