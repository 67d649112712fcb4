"""Scan EmoryNLP (Zahiri & Choi, 2018): transcripts of four seasons of *Friends*, with seven emotions."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from ercache.manifest import Manifest
from extract.corpora.common.entry import CorpusEntry, NoSwitches, ScanProgress
from extract.corpora.common.listing import FolderListing, counted, list_folder, list_some
from extract.corpora.common.text_corpus import (
    PARTS,
    TextParts,
    choose_file,
    differing_counts,
    manifest_of_texts,
    refuse,
)
from extract.corpora.emorynlp.facts import COUNTS, GROUP, LABEL_SETS, emotion_of, labels_of
from extract.corpora.emorynlp.rows import EmoryRow, read_csv, read_json

FORMS: Final = {
    "csv": {part: f"emorynlp_{part}_final.csv" for part in PARTS},
    "json": {
        part: f"emotion-detection-{short}.json"
        for part, short in zip(PARTS, ("trn", "dev", "tst"), strict=True)
    },
}
HOW: Final = (
    "give the three JSON files of github.com/emorynlp/emotion-detection, folder json, or the three "
    "emorynlp_*_final.csv of github.com/declare-lab/MELD, folder data/emorynlp"
)


def scan(root: Path, switches: NoSwitches, progress: ScanProgress | None = None) -> Manifest:
    """Read EmoryNLP and return its manifest.

    The folder must hold either the three JSON files of the authors or the three csv files of declare-lab, not both.

    Raises:
        CorpusError: train, dev or test is absent or unusable, or both forms are there; the error lists all faults.
    """
    folder = list_folder(root)
    found = TextParts()
    form = _form(folder, found)
    for part in PARTS if form else ():
        name = FORMS[form][part]
        path = choose_file(folder, name, found)
        if path is None:
            found.faults.append(f"{name} is nowhere below this folder")
        else:
            read = read_csv if form == "csv" else read_json
            _add_part(part, path, read(folder, path, found), found)
    if found.utterances and not any(u.labels["emotion7"] for u in found.utterances):
        found.faults.append("no utterance has one of the seven emotions")
    refuse("emorynlp", folder, found, HOW)
    if form == "json":
        found.problems += differing_counts(found.utterances, COUNTS)
    version = "JSON files of emorynlp" if form == "json" else "csv files of declare-lab"
    return manifest_of_texts("emorynlp", version, folder, found, LABEL_SETS, ("dialogue",))


def _form(folder: FolderListing, found: TextParts) -> str:
    """Return whether the folder holds the `csv` files or the `json` files of the corpus.

    If it holds none or both, the result is an empty text, and a message is added to `found.faults`.
    """
    forms = {form: [n for n in names.values() if folder.files_named(n)] for form, names in FORMS.items()}
    here = [form for form, names in forms.items() if names]
    if len(here) == 2:
        names = list_some([*forms["csv"], *forms["json"]])
        found.faults.append(f"holds both forms ({names}), which differ in their utterances; keep one of them")
    elif not here:
        first = [names["train"] for names in FORMS.values()]
        found.faults.append(f"neither {' nor '.join(first)} is below this folder")
    return here[0] if len(here) == 1 else ""


def _add_part(part: str, path: str, rows: Sequence[EmoryRow], found: TextParts) -> None:
    known = {u.id: u.part for u in found.utterances}
    elsewhere = [row.id for row in rows if row.id in known]
    if elsewhere:
        other = known[elsewhere[0]]
        found.faults.append(
            f"{path}: {counted(len(elsewhere), 'utterance')} of {other} stand here, too: {list_some(elsewhere, 3)}"
        )
        return
    kept: dict[str, EmoryRow] = {}
    again = []
    for row in rows:
        if row.id in kept:
            again.append(row.id)
        else:
            kept[row.id] = row
    if again:
        told = f"{part}: {counted(len(again), 'row')} with an id that another row has: {list_some(again)}"
        found.note("repeated_row", f"{told}; the first counts", len(again))
    _add_notes(part, list(kept.values()), found)
    ordered = sorted(kept.values(), key=_order)
    for dialogue, group in groupby(ordered, key=lambda row: _order(row)[0]):
        turns = list(group)
        found.add_dialogue(
            part,
            dialogue,
            [(row.id, ", ".join(row.speakers) or "unknown", row.text) for row in turns],
            [labels_of(emotion_of(row.emotion)) for row in turns],
        )


def _order(row: EmoryRow) -> tuple[str, int]:
    """Return a key for sorting utterances: the scene, and the number of the utterance in the scene."""
    scene, _, number = row.id.rpartition("_u")
    return scene, int(number)


def _add_notes(part: str, rows: Sequence[EmoryRow], found: TextParts) -> None:
    """Add notes that count the deviations in one subset (train, dev or test), such as unknown emotions.

    Only a wrong order of the utterances is corrected later; everything else stays as in the file.
    """
    unknown = sorted({row.emotion for row in rows if row.emotion and not emotion_of(row.emotion)})
    strange = sum(row.emotion in unknown for row in rows)
    if strange:
        found.note(
            "unreadable_label", f"{part}: not one of the seven emotions: {list_some(unknown)}", strange
        )
    unlabelled = sum(not row.emotion for row in rows)
    if unlabelled:
        found.note("no_label", f"{part}: {counted(unlabelled, 'utterance')} without an emotion", unlabelled)
    nameless = sum(not row.speakers for row in rows)
    if nameless:
        told = f"{part}: {counted(nameless, 'utterance')} without a speaker, called 'unknown'"
        found.note("no_speaker", told, nameless)
    groups = [row for row in rows if len(row.speakers) > 1 or any(map(GROUP.search, row.speakers))]
    if groups:
        names = list_some(dict.fromkeys(", ".join(row.speakers) for row in groups))
        found.note("group_speaker", f"{part}: {names}; each is kept as one speaker", len(groups))
    if list(map(_order, rows)) != sorted(map(_order, rows)):
        found.note("not_in_order", f"{part}: utterances were put in the order of their ids")
    last: dict[str, int] = {}
    for scene, number in map(_order, rows):
        last[scene] = max(number, last.get(scene, 0))
    holes = sum(last.values()) - len(rows)
    if holes > 0:
        found.note(
            "holes_in_ids", f"{part}: the numbers of utterances skip {counted(holes, 'number')} in scenes"
        )


ENTRY: Final = CorpusEntry(
    key="emorynlp",
    name="EmoryNLP: Emotion Detection on TV Show Transcripts",
    modalities=("text",),
    parts=PARTS,
    label_sets=LABEL_SETS,
    licence="see its repository; the transcripts are of copyrighted television",
    how_to_get=(
        "the three JSON files of github.com/emorynlp/emotion-detection, folder json; or the three "
        "emorynlp_*_final.csv (fewer utterances) of github.com/declare-lab/MELD, folder data/emorynlp"
    ),
    Switches=NoSwitches,
    scan=scan,
)
