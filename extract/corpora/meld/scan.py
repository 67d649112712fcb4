"""Scan MELD (Poria et al., ACL 2019), conversations of *Friends*, and corpora with the same folder layout."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.reasons import Missing
from ercache.wording import count_noun
from extract.corpora.common.copies import Copies, problems_of_copies
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.inspect_media import MediaFacts, inspect_media
from extract.corpora.common.listing import (
    FolderListing,
    describe_unreadable,
    list_folder,
    list_some,
    read_content,
)
from extract.corpora.meld.clips import (
    PREFIX,
    Switches,
    problems_of_clip,
    reindexed,
    trim_long_clip,
    why_left_out,
)
from extract.corpora.meld.facts import id_of, notes_of_corpus, notes_of_part
from extract.corpora.meld.transcript import EMOTIONS, SENTIMENTS, MeldTable, TableRow, read_table

CLIP_FOLDERS: Final = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
LABEL_SETS: Final = {"emotion7": EMOTIONS, "sentiment3": SENTIMENTS}
_CLIP: Final = re.compile(r"dia(\d+)_utt(\d+)\.mp4", re.ASCII)


@dataclass(frozen=True)
class MeldPart:
    """The table and the clips of one subset (train, dev or test), as they were found on disk.

    Attributes:
        name: train, dev or test.
        table: path of the table.
        rows: rows of the table, in its order.
        repaired: number of wrongly encoded characters that were repaired in the table.
        clips: file name of a clip in lower case -> path; None if the subset has no clips.
        duplicates: path of an unused second copy of a table or clip -> path of the file that is used instead.
        packed: paths of archives in the corpus folder, which may not be unpacked yet.
    """

    name: str
    table: str
    rows: list[TableRow]
    repaired: int
    clips: dict[str, str] | None
    duplicates: Mapping[str, str] = field(default_factory=dict)
    packed: tuple[str, ...] = ()

    @property
    def ordered(self) -> list[TableRow]:
        """The rows sorted by Dialogue_ID and Utterance_ID. (The times in the table are not always in order.)"""
        return sorted(self.rows, key=lambda row: row.key)


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read MELD as its authors distribute it, and return its manifest. The media files may be absent.

    Raises:
        CorpusError: a table is absent or unusable; the error lists all faults.
    """
    folder = list_folder(root)
    parts = read_parts(folder, "meld")
    prefixed = switches.test_clip_variant == "prefixed_if_present"
    manifest = manifest_of("meld", root, parts, prefixed, progress, switches)
    clips = {p.name: sum(n.endswith(".mp4") for n in p.clips) for p in parts if p.clips is not None}
    version = (
        "tables of before 2020-11-15, mended"
        if any(p.repaired for p in parts)
        else "tables of 2020-11-15 or later"
    )
    problems = (*folder.notes(), *manifest.problems, *notes_of_corpus(manifest, clips))
    return replace(manifest, version=version, problems=problems)


def read_parts(folder: FolderListing, corpus: str) -> list[MeldPart]:
    """Find and read the tables of train, dev and test, and find the clips.

    Args:
        folder: the files of the corpus.
        corpus: name of the corpus for messages, `meld` or `demo`.

    Raises:
        CorpusError: a table is absent or unusable; the error lists the faults of all three tables.
    """
    tables = {part: folder.files_named(f"{part}_sent_emo.csv") for part in CLIP_FOLDERS}
    lacking = [f"{part}_sent_emo.csv" for part, found in tables.items() if not found]
    findings = [f"{name} is nowhere below this folder" for name in lacking]
    read: dict[str, MeldTable] = {}
    for part, found in tables.items():
        if found:
            read[part] = _table(folder, found[0])
            findings += read[part].findings
    if findings:
        message = f"{corpus}: {folder.root} cannot be used"
        raise CorpusError(message, details=_short(findings), hint=_remedy(folder, corpus, lacking))
    return [_part(folder, part, tables[part], table) for part, table in read.items()]


def _part(folder: FolderListing, name: str, tables: Sequence[str], table: MeldTable) -> MeldPart:
    copies: Copies[str] = Copies()
    for path in folder.files_in(CLIP_FOLDERS[name]):
        copies.add(path.rpartition("/")[2].lower(), path)
    duplicates = dict.fromkeys(tables[1:], tables[0]) | copies.duplicates
    clips = copies.chosen or None
    return MeldPart(name, tables[0], table.rows, table.repaired, clips, duplicates, tuple(folder.archives()))


def _table(folder: FolderListing, path: str) -> MeldTable:
    try:
        content = read_content(folder.root, path)
    except Missing as missing:
        return MeldTable(findings=[describe_unreadable(path, missing)])
    return read_table(content, path)


def _short(findings: Sequence[str], most: int = 50) -> list[str]:
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return [*findings[:most], *more]


def _remedy(folder: FolderListing, corpus: str, lacking: Sequence[str]) -> str:
    if not lacking:
        return "correct these rows, or use the tables of github.com/declare-lab/MELD, folder data/MELD"
    if corpus == "demo":
        return "make it with `ercache demo DIR`"
    if folder.archives():
        return f"unpack {list_some(folder.archives())} there first; the train table is inside train.tar.gz"
    found = list_some(folder.files, 5) or "nothing"
    return (
        f"found: {found}; give the folder of MELD.Raw.tar.gz, unpacked with the train, dev and test archives "
        "inside it, or the folder data/MELD of github.com/declare-lab/MELD"
    )


def manifest_of(
    corpus: str,
    root: Path,
    parts: Sequence[MeldPart],
    prefixed: bool,
    progress: ScanProgress | None,
    policies: Switches | None = None,
) -> Manifest:
    """Build the manifest from tables and clips. The clips are opened to find their durations and faults.

    Args:
        corpus: key of the corpus.
        root: folder of the corpus.
        parts: train, dev and test as read from disk.
        prefixed: whether test clips whose names begin with `final_videos_test` are used where they exist.
        progress: called with (files done, files in total).
        policies: the user's choices for long and bad clips; None keeps all clips unchanged.
    """
    policies = policies or Switches(long_clips="keep")
    chosen = {id_of(p.name, row): _clip(p, row, prefixed) for p in parts for row in p.rows}
    present = {path for p in parts for path in (p.clips or {}).values()}
    wanted = {ref.path for ref in chosen.values() if ref is not None}
    duplicates = {path: original for part in parts for path, original in part.duplicates.items()}
    media_facts = inspect_media(root, {*(wanted & present), *duplicates, *duplicates.values()}, progress)
    utterances: list[Utterance] = []
    problems = problems_of_copies(duplicates, media_facts)
    for part in parts:
        problems += _problems_of_part(part) + notes_of_part(part.name, part.rows)
        kept: list[Utterance] = []
        for utterance in _utterances(part, chosen, media_facts):
            told = problems_of_clip(utterance, media_facts, policies)
            why = why_left_out(utterance, told, media_facts, policies)
            if why:
                problems.append(Problem(None, "note", "left_out", f"{utterance.id}: {why}"))
            else:
                kept.append(trim_long_clip(utterance, media_facts, policies))
                problems += told
        utterances += reindexed(kept)
    if all(part.clips is None for part in parts):
        detail = "no clips were found, so that there are neither pictures nor sound; text features work"
        detail += _packed(parts[0])
        problems = [Problem(None, "missing", "not_in_corpus", detail), *_but_no_folders(problems)]
    return Manifest(
        corpus=corpus,
        version="",
        sources={part.table: digest_of_file(root / part.table) for part in parts},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=tuple(problems),
        splits={"official": {p.name: tuple(u.id for u in utterances if u.part == p.name) for p in parts}},
        promises={"official": ("dialogue",)},
    )


def _packed(part: MeldPart) -> str:
    return f"; still packed: {list_some(part.packed)}" if part.packed else ""


def _but_no_folders(problems: Sequence[Problem]) -> list[Problem]:
    return [p for p in problems if p.reason != "not_in_corpus"]


def _clip(part: MeldPart, row: TableRow, prefixed: bool) -> MediaRef | None:
    if part.clips is None:
        return None
    plain = f"dia{row.dialogue}_utt{row.utterance}.mp4"
    if prefixed and part.name == "test" and PREFIX + plain in part.clips:
        return MediaRef(part.clips[PREFIX + plain])
    place = next(iter(part.clips.values())).rpartition("/")[0]
    return MediaRef(part.clips.get(plain, f"{place}/{plain}"))


def _utterances(
    part: MeldPart, chosen: Mapping[str, MediaRef | None], media_facts: Mapping[str, MediaFacts]
) -> list[Utterance]:
    """Return the utterances of one subset (train, dev or test), sorted by Dialogue_ID and Utterance_ID.

    All have the index 0. Their positions in the dialogues are set later, when bad clips have been removed.

    Args:
        part: table and clips of the subset.
        chosen: utterance id -> reference to its clip; None without clips.
        media_facts: path -> media facts.
    """
    found: list[Utterance] = []
    for row in part.ordered:
        ref = chosen[id_of(part.name, row)]
        file_facts = media_facts.get(ref.path) if ref else None
        clip = replace(ref, sha256=file_facts.sha256) if ref and file_facts else ref
        found.append(
            Utterance(
                id=id_of(part.name, row),
                dialogue=f"{part.name}_dia{row.dialogue}",
                index=0,
                speaker=row.speaker,
                text=row.text or None,
                video=clip,
                audio=clip,
                labels={"emotion7": row.emotion, "sentiment3": row.sentiment},
                part=part.name,
            )
        )
    return found


def _problems_of_part(part: MeldPart) -> list[Problem]:
    if part.repaired:
        detail = f"{part.table}: {part.repaired} control characters of the old encoding were mended"
        repaired = [Problem(None, "note", "old_encoding", detail)]
    else:
        repaired = []
    if part.clips is None:
        detail = f"{part.name}: no folder {CLIP_FOLDERS[part.name]} with clips; is its archive unpacked?"
        detail += _packed(part)
        return [*repaired, Problem(None, "missing", "not_in_corpus", detail)]
    rows = {row.key for row in part.rows}
    files_named = {name: _CLIP.fullmatch(name.removeprefix(PREFIX)) for name in part.clips}
    idle = [n for n, match in files_named.items() if not match or (int(match[1]), int(match[2])) not in rows]
    if idle:
        detail = f"{part.name}: {count_noun(len(idle), 'file')} without a row: {list_some(sorted(idle))}"
        return [*repaired, Problem(None, "note", "clip_without_row", detail)]
    return repaired


ENTRY: Final = CorpusEntry(
    key="meld",
    name="MELD: Multimodal EmotionLines Dataset",
    modalities=("text", "audio", "visual"),
    parts=("train", "dev", "test"),
    label_sets=LABEL_SETS,
    licence="tables GPL-3.0; the clips are copyrighted television, for research",
    how_to_get=(
        "MELD.Raw.tar.gz from affective-meld.github.io, with the archives inside it unpacked too; the tables alone "
        "(text features) are in github.com/declare-lab/MELD, folder data/MELD"
    ),
    Switches=Switches,
    scan=scan,
)
