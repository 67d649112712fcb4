"""Rows of a user's table to utterances: files found, dialogues put in order, ids made where the table gives none."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ercache.manifest import MediaRef, Utterance
from extract.corpora.clip_table import ClipRow
from extract.corpora.folder import Folder, some
from extract.corpora.splits import Split, actor_disjoint, actor_folds
from extract.corpora.subtitles import UNKNOWN
from extract.corpora.suffixes import AUDIO, VIDEO, is_medium, stem_of, suffix_of

SUBSETS: Final = ("train", "dev", "test")


class Recordings:
    """The media files of a folder, found by path, by path in another case, or by path without suffix."""

    def __init__(self, folder: Folder) -> None:
        self._files = frozenset(folder.files)
        self.media = [path for path in folder.files if is_medium(path)]
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._folded: dict[str, list[str]] = defaultdict(list)
        for path in self.media:
            self._stems[stem_of(path)].append(path)
            self._folded[path.casefold()].append(path)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def find(self, given: str) -> tuple[list[str], str]:
        """Paths that a table means by a path, and a word on how they were found; none where there is no such file."""
        path = given.replace("\\", "/").removeprefix("./")
        if path in self._files:
            return [path], ""
        if path in self._stems:
            return sorted(self._stems[path], key=lambda p: suffix_of(p) not in VIDEO), ""
        folded = self._folded.get(path.casefold(), [])
        return (folded, f"{given} was found as {folded[0]}") if len(folded) == 1 else ([], "")


@dataclass(frozen=True)
class Clip:
    """A row with its place in the corpus; references are not yet digested."""

    row: ClipRow
    id: str
    dialogue: str
    index: int
    video: MediaRef | None
    audio: MediaRef | None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def speaker(self) -> str:
        """Who speaks."""
        return self.row.speaker or UNKNOWN

    @property
    def paths(self) -> list[str]:
        """Files it is in."""
        return [ref.path for ref in (self.video, self.audio) if ref is not None]


def clips_of(
    rows: Sequence[ClipRow], recordings: Recordings, table: str | None, sets: Mapping[str, tuple[str, ...]]
) -> tuple[list[Clip], list[str]]:
    """Clips in order of their dialogues' first rows, and the faults of those rows that give none.

    Args:
        table: path of the table; files may be given relative to its folder, too.
        sets: label sets with the values that they may have.
    """
    place = (table or "").rpartition("/")[0]
    faults: list[str] = []
    dialogues: dict[str, list[tuple[ClipRow, MediaRef | None, MediaRef | None, list[tuple[str, str]]]]] = {}
    for number, row in enumerate(rows):
        strange = [
            f"unknown {s} {v!r} (known: {', '.join(sets[s])})"
            for s, v in row.labels.items()
            if v not in sets[s]
        ]
        if strange:
            faults.append(f"{row.where}: {'; '.join(strange)}")
            continue
        video, audio, notes = _media(row, recordings, place)
        dialogue = row.dialogue or _own_dialogue(row, video or audio, number)
        dialogues.setdefault(dialogue, []).append((row, video, audio, notes))
    clips: list[Clip] = []
    for dialogue, members in dialogues.items():
        faults += _order_faults(dialogue, [row for row, *_ in members])
        members.sort(key=lambda m: (m[0].index or 0, m[0].start or 0.0, m[0].end or 0.0))  # stable
        for index, (row, video, audio, notes) in enumerate(members):
            name = row.id or _own_id(row, video or audio, dialogue, index, len(members))
            clips.append(Clip(row, name, dialogue, index, video, audio, tuple(notes)))
    return _unique(clips, faults), faults


def _media(
    row: ClipRow, recordings: Recordings, place: str
) -> tuple[MediaRef | None, MediaRef | None, list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    start = row.start
    if start is not None and start < 0:
        notes.append(("negative_start", f"{start:g} s was taken as 0"))
        start = 0.0

    def found(given: str) -> list[str]:
        paths, word = recordings.find(given)
        if not paths and place:
            paths, word = recordings.find(f"{place}/{given}")
        if word:
            notes.append(("other_case", word))
        return paths or [given.replace("\\", "/")]

    both = found(row.file) if row.file else []
    video = [p for p in both if suffix_of(p) not in AUDIO][:1]
    audio = [p for p in both if suffix_of(p) in AUDIO][:1] or video
    video = found(row.video)[:1] if row.video else video
    audio = found(row.audio)[-1:] if row.audio else audio or video
    end = None if row.end is None else max(row.end, 0.0)
    refs = [MediaRef(p[0], start, end) if p else None for p in (video, audio)]
    return refs[0], refs[1], notes


def _own_dialogue(row: ClipRow, ref: MediaRef | None, number: int) -> str:
    if ref is None:
        return row.id or f"row{number}"
    stem = stem_of(ref.path).replace("/", "__")
    return stem if row.start is not None else row.id or stem


def _own_id(row: ClipRow, ref: MediaRef | None, dialogue: str, index: int, members: int) -> str:
    if ref is not None and row.start is None:
        return stem_of(ref.path).replace("/", "__")
    return dialogue if ref is None and members == 1 else f"{dialogue}_{index}"


def _order_faults(dialogue: str, rows: Sequence[ClipRow]) -> Iterator[str]:
    given = Counter(row.index for row in rows if row.index is not None)
    for index, count in given.items():
        if count > 1:
            where = [row.where for row in rows if row.index == index]
            yield f"{where[1]}: dialogue {dialogue!r} has the index {index} already ({where[0]})"
    if given and sum(given.values()) != len(rows):
        yield f"{rows[0].where}: dialogue {dialogue!r} has rows with an index and rows without"


def _unique(clips: Sequence[Clip], faults: list[str]) -> list[Clip]:
    first: dict[str, Clip] = {}
    for clip in clips:
        before = first.setdefault(clip.id, clip)
        if before is not clip:
            faults.append(
                f"{clip.row.where}: id {clip.id!r} is that of {before.row.where}; give the column id"
            )
    return list(first.values())


def utterance_of(
    clip: Clip, video: MediaRef | None, audio: MediaRef | None, sets: Mapping[str, tuple[str, ...]]
) -> Utterance:
    """The utterance of a clip, with the references that a look at the files gave."""
    labels = {name: clip.row.labels.get(name) for name in sets}
    return Utterance(
        clip.id, clip.dialogue, clip.index, clip.speaker, clip.row.text, video, audio, labels, "all"
    )


def notes_of_official(clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
    """What is odd about the table's own split: subsets of other names, and dialogues that it tears apart."""
    other = Counter(c.row.split for c in clips if c.row.split and c.row.split not in SUBSETS)
    if other:
        listed = some(f"{name} ({count})" for name, count in other.items())
        yield "other_subset", f"rows of subsets other than {', '.join(SUBSETS)}: {listed}"
    subsets: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.row.split:
            subsets[clip.dialogue].add(clip.row.split)
    torn = [dialogue for dialogue, names in subsets.items() if len(names) > 1]
    if torn:
        yield "torn_dialogue", f"{len(torn)} dialogues are in several subsets of `official`: {some(torn)}"


def splits_of(utterances: Sequence[Utterance], official: Mapping[str, str | None]) -> dict[str, Split]:
    """`official` by the table's column, `dialogues`, and `speakers` with five folds where dialogues are one turn.

    The last two hold 15 % of the groups, in the order of strings, for each of dev and test.
    """
    splits: dict[str, Split] = {}
    subsets = dict.fromkeys((*SUBSETS, *sorted({*filter(None, official.values())})))
    named = {s: tuple(u.id for u in utterances if official[u.id] == s) for s in subsets}
    if any(named.values()):
        splits["official"] = {subset: ids for subset, ids in named.items() if ids}
    splits["dialogues"] = actor_disjoint({u.id: u.dialogue for u in utterances})
    speakers = {u.id: u.speaker for u in utterances}
    if UNKNOWN not in speakers.values() and len({u.dialogue for u in utterances}) == len(utterances):
        splits |= {"speakers": actor_disjoint(speakers), **actor_folds(speakers, name="speakers")}
    return {
        name: split for name, split in splits.items() if split and (name == "official" or all(split.values()))
    }
