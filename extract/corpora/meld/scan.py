"""MELD (Poria et al., ACL 2019): conversations of *Friends*, and every corpus that lies on disk like it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.reasons import Missing
from extract.corpora.common.copies import Copies, notes_of_copies
from extract.corpora.common.entry import CorpusEntry, Progress
from extract.corpora.common.inspect_media import Seen, survey
from extract.corpora.common.listing import Folder, content_of, list_folder, some, why_not
from extract.corpora.meld.clips import PREFIX, Switches, left_out, problems_of_clip, ranked, trimmed
from extract.corpora.meld.facts import id_of, notes_of_corpus, notes_of_part
from extract.corpora.meld.transcript import EMOTIONS, SENTIMENTS, Row, Table, read_table

CLIP_FOLDERS: Final = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
LABEL_SETS: Final = {"emotion7": EMOTIONS, "sentiment3": SENTIMENTS}
_CLIP: Final = re.compile(r"dia(\d+)_utt(\d+)\.mp4", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A part as found: its table, the rows as they stand there, and its clips (name in small letters -> path), if any.

    Attributes:
        again: tables and clips that are there a second time -> those that are taken.
        packed: archives of the folder.
    """

    name: str
    table: str
    rows: list[Row]
    mended: int
    clips: dict[str, str] | None
    again: Mapping[str, str] = field(default_factory=dict)
    packed: tuple[str, ...] = ()

    @property
    def ordered(self) -> list[Row]:
        """Rows by Dialogue_ID and Utterance_ID; the times run backwards in places."""
        return sorted(self.rows, key=lambda row: row.key)


def scan(root: Path, switches: Switches, progress: Progress | None = None) -> Manifest:
    """Read MELD as its authors distribute it; the media may be absent.

    Raises:
        CorpusError: a table is absent or unusable; with all findings.
    """
    folder = list_folder(root)
    parts = read_parts(folder, "meld")
    prefixed = switches.test_clip_variant == "prefixed_if_present"
    manifest = manifest_of("meld", root, parts, prefixed, progress, switches)
    clips = {p.name: sum(n.endswith(".mp4") for n in p.clips) for p in parts if p.clips is not None}
    version = (
        "tables of before 2020-11-15, mended"
        if any(p.mended for p in parts)
        else "tables of 2020-11-15 or later"
    )
    problems = (*folder.notes(), *manifest.problems, *notes_of_corpus(manifest, clips))
    return replace(manifest, version=version, problems=problems)


def read_parts(folder: Folder, corpus: str) -> list[Part]:
    """Find and read the three tables and list the clips.

    Raises:
        CorpusError: with all findings of all three.
    """
    tables = {part: folder.named(f"{part}_sent_emo.csv") for part in CLIP_FOLDERS}
    lacking = [f"{part}_sent_emo.csv" for part, found in tables.items() if not found]
    findings = [f"{name} is nowhere below this folder" for name in lacking]
    read: dict[str, Table] = {}
    for part, found in tables.items():
        if found:
            read[part] = _table(folder, found[0])
            findings += read[part].findings
    if findings:
        message = f"{corpus}: {folder.root} cannot be used"
        raise CorpusError(message, details=_short(findings), hint=_remedy(folder, corpus, lacking))
    return [_part(folder, part, tables[part], table) for part, table in read.items()]


def _part(folder: Folder, name: str, tables: Sequence[str], table: Table) -> Part:
    copies: Copies[str] = Copies()
    for path in folder.inside(CLIP_FOLDERS[name]):
        copies.add(path.rpartition("/")[2].lower(), path)
    again = dict.fromkeys(tables[1:], tables[0]) | copies.again
    clips = copies.taken or None
    return Part(name, tables[0], table.rows, table.mended, clips, again, tuple(folder.archives()))


def _table(folder: Folder, path: str) -> Table:
    try:
        content = content_of(folder.root, path)
    except Missing as missing:
        return Table(findings=[why_not(path, missing)])
    return read_table(content, path)


def _short(findings: Sequence[str], most: int = 50) -> list[str]:
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return [*findings[:most], *more]


def _remedy(folder: Folder, corpus: str, lacking: Sequence[str]) -> str:
    if not lacking:
        return "mend these rows, or take the tables of github.com/declare-lab/MELD, folder data/MELD"
    if corpus == "demo":
        return "make it with `ercache demo DIR`"
    if folder.archives():
        return f"unpack {some(folder.archives())} there first; the train table is inside train.tar.gz"
    found = some(folder.files, 5) or "nothing"
    return (
        f"found: {found}; give the folder of MELD.Raw.tar.gz, unpacked with the train, dev and test archives "
        "inside it, or the folder data/MELD of github.com/declare-lab/MELD"
    )


def manifest_of(
    corpus: str,
    root: Path,
    parts: Sequence[Part],
    prefixed: bool,
    progress: Progress | None,
    policies: Switches | None = None,
) -> Manifest:
    """Put tables and clips together; clips are digested and looked at.

    Args:
        policies: for long and bad clips; without any all are kept.
    """
    policies = policies or Switches(long_clips="keep")
    chosen = {id_of(p.name, row): _clip(p, row, prefixed) for p in parts for row in p.rows}
    present = {path for p in parts for path in (p.clips or {}).values()}
    wanted = {ref.path for ref in chosen.values() if ref is not None}
    again = {path: taken for part in parts for path, taken in part.again.items()}
    seen = survey(root, {*(wanted & present), *again, *again.values()}, progress)
    utterances: list[Utterance] = []
    problems = notes_of_copies(again, seen)
    for part in parts:
        problems += _problems_of_part(part) + notes_of_part(part.name, part.rows)
        kept: list[Utterance] = []
        for utterance in _utterances(part, chosen, seen):
            told = problems_of_clip(utterance, seen, policies)
            why = left_out(utterance, told, seen, policies)
            if why:
                problems.append(Problem(None, "note", "left_out", f"{utterance.id}: {why}"))
            else:
                kept.append(trimmed(utterance, seen, policies))
                problems += told
        utterances += ranked(kept)
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


def _packed(part: Part) -> str:
    return f"; still packed: {some(part.packed)}" if part.packed else ""


def _but_no_folders(problems: Sequence[Problem]) -> list[Problem]:
    return [p for p in problems if p.reason != "not_in_corpus"]


def _clip(part: Part, row: Row, prefixed: bool) -> MediaRef | None:
    if part.clips is None:
        return None
    plain = f"dia{row.dialogue}_utt{row.utterance}.mp4"
    if prefixed and part.name == "test" and PREFIX + plain in part.clips:
        return MediaRef(part.clips[PREFIX + plain])
    place = next(iter(part.clips.values())).rpartition("/")[0]
    return MediaRef(part.clips.get(plain, f"{place}/{plain}"))


def _utterances(
    part: Part, chosen: Mapping[str, MediaRef | None], seen: Mapping[str, Seen]
) -> list[Utterance]:
    """Utterances in order; their index is not yet given."""
    found: list[Utterance] = []
    for row in part.ordered:
        ref = chosen[id_of(part.name, row)]
        look = seen.get(ref.path) if ref else None
        clip = replace(ref, sha256=look.sha256) if ref and look else ref
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


def _problems_of_part(part: Part) -> list[Problem]:
    if part.mended:
        detail = f"{part.table}: {part.mended} control characters of the old encoding were mended"
        mended = [Problem(None, "note", "old_encoding", detail)]
    else:
        mended = []
    if part.clips is None:
        detail = f"{part.name}: no folder {CLIP_FOLDERS[part.name]} with clips; is its archive unpacked?"
        detail += _packed(part)
        return [*mended, Problem(None, "missing", "not_in_corpus", detail)]
    rows = {row.key for row in part.rows}
    named = {name: _CLIP.fullmatch(name.removeprefix(PREFIX)) for name in part.clips}
    idle = [n for n, match in named.items() if not match or (int(match[1]), int(match[2])) not in rows]
    if idle:
        detail = f"{part.name}: {len(idle)} files belong to no row: {some(sorted(idle))}"
        return [*mended, Problem(None, "note", "clip_without_row", detail)]
    return mended


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
