"""Turn rows of a user's table into utterances: find files, order dialogues, and create ids where the table has none."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ercache.manifest import MediaRef, Utterance
from extract.corpora.common.equivalent_names import name_key, to_nfc
from extract.corpora.common.listing import FolderListing, list_some
from extract.corpora.common.subtitles import UNKNOWN
from extract.corpora.common.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES, is_medium, stem_of, suffix_of
from extract.corpora.folder.table import ClipRow


class Recordings:
    """Finds media files by the paths in a table. The suffix may be missing; case and Unicode form may differ."""

    def __init__(self, folder: FolderListing) -> None:
        self._files = frozenset(folder.files)
        self.media = [path for path in folder.files if is_medium(path)]
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._paths_by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.media:
            self._stems[stem_of(path)].append(path)
            self._paths_by_name[name_key(path.rpartition("/")[2])].append(path)
        self._paths_by_key = _by_key(self.media)
        self._stems_by_key = _by_key(self._stems)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def find(self, given: str) -> tuple[list[str], tuple[str, str] | None]:
        """Find the files that a path in the table means.

        Returns:
            Two values. The first one is a list of paths, files with pictures first; it is empty if no file fits, or if
            several files fit equally well. The second one is a note (reason, detail) if case or Unicode form differ or
            several files fit, else None.
        """
        path = given.replace("\\", "/").removeprefix("./")
        if path in self._files:
            return [path], None
        if path in self._stems:
            return self._pictures_first(self._stems[path]), None
        for names in (self._paths_by_key, self._stems_by_key):
            equivalent = names.get(name_key(path), [])
            same = [name for name in equivalent if to_nfc(name) == to_nfc(path)]
            if len(same or equivalent) > 1:
                return [], ("ambiguous_name", f"{given} may be {list_some(same or equivalent)}")
            for name in same or equivalent:
                word = (
                    f"{given} (letters composed otherwise, as macOS does)" if same else f"{given} as {name}"
                )
                found = [name] if names is self._paths_by_key else self._pictures_first(self._stems[name])
                return found, ("other_form" if same else "other_case", word)
        return [], None

    def same_name(self, given: str) -> list[str]:
        """Return the media files in all folders whose file name equals that of a given path."""
        return self._paths_by_name.get(name_key(given.replace("\\", "/").rpartition("/")[2]), [])

    def _pictures_first(self, paths: Sequence[str]) -> list[str]:
        return sorted(paths, key=lambda path: suffix_of(path) not in VIDEO_SUFFIXES)


def _by_key(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name_key(name)].append(name)
    return found


@dataclass(frozen=True)
class FolderClip:
    """A row of the user's table for which id, dialogue, position in the dialogue and media files have been found.

    The digests of the media files are added later.
    """

    row: ClipRow
    id: str
    dialogue: str
    index: int
    video: MediaRef | None
    audio: MediaRef | None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def speaker(self) -> str:
        """The speaker, or `unknown` if the table names none."""
        return self.row.speaker or UNKNOWN

    @property
    def paths(self) -> list[str]:
        """Paths of the clip's video and audio files."""
        return [ref.path for ref in (self.video, self.audio) if ref is not None]


def clips_of(
    rows: Sequence[ClipRow], recordings: Recordings, table: str | None, sets: Mapping[str, tuple[str, ...]]
) -> tuple[list[FolderClip], list[str]]:
    """Turn rows of a table into clips. Dialogues come in the order in which they first appear in the table.

    Args:
        rows: rows of the table.
        recordings: media files of the folder.
        table: path of the table; paths in it may also be relative to the folder of the table.
        sets: label set -> allowed values.

    Returns:
        Two lists: the clips, and messages about faulty rows, which do not become clips.
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
    clips: list[FolderClip] = []
    for dialogue, members in dialogues.items():
        faults += _order_faults(dialogue, [row for row, *_ in members])
        members.sort(key=lambda m: (m[0].index or 0, m[0].start or 0.0, m[0].end or 0.0))  # stable
        for index, (row, video, audio, notes) in enumerate(members):
            name = row.id or _own_id(row, video or audio, dialogue, index, len(members))
            clips.append(FolderClip(row, name, dialogue, index, video, audio, tuple(notes)))
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
            notes.append(word)
        return paths or [given.replace("\\", "/")]

    both = found(row.file) if row.file else []
    video = [p for p in both if suffix_of(p) not in AUDIO_SUFFIXES][:1]
    audio = [p for p in both if suffix_of(p) in AUDIO_SUFFIXES][:1] or video
    video = found(row.video)[:1] if row.video else video
    audio = found(row.audio)[-1:] if row.audio else audio or video
    end = None if row.end is None else max(row.end, 0.0)
    refs = [MediaRef(p[0], start, end) if p else None for p in (video, audio)]
    return refs[0], refs[1], notes


def _own_dialogue(row: ClipRow, ref: MediaRef | None, number: int) -> str:
    if ref is None:
        return row.id or f"row{number}"
    stem = to_nfc(stem_of(ref.path)).replace("/", "__")
    return stem if row.start is not None else row.id or stem


def _own_id(row: ClipRow, ref: MediaRef | None, dialogue: str, index: int, members: int) -> str:
    if ref is not None and row.start is None:
        return to_nfc(stem_of(ref.path)).replace("/", "__")
    return dialogue if ref is None and members == 1 else f"{dialogue}_{index}"


def _order_faults(dialogue: str, rows: Sequence[ClipRow]) -> Iterator[str]:
    given = Counter(row.index for row in rows if row.index is not None)
    for index, count in given.items():
        if count > 1:
            where = [row.where for row in rows if row.index == index]
            yield f"{where[1]}: dialogue {dialogue!r} has the index {index} already ({where[0]})"
    if given and sum(given.values()) != len(rows):
        yield f"{rows[0].where}: dialogue {dialogue!r} has rows with an index and rows without"


def _unique(clips: Sequence[FolderClip], faults: list[str]) -> list[FolderClip]:
    first: dict[str, FolderClip] = {}
    for clip in clips:
        before = first.setdefault(clip.id, clip)
        if before is not clip:
            faults.append(
                f"{clip.row.where}: id {clip.id!r} is already used in {before.row.where}; "
                "give unique ids in the column id"
            )
    return list(first.values())


def utterance_of(
    clip: FolderClip, video: MediaRef | None, audio: MediaRef | None, sets: Mapping[str, tuple[str, ...]]
) -> Utterance:
    """Convert a clip to an utterance of the manifest.

    Args:
        clip: the clip.
        video, audio: its media references, with file digests.
        sets: label set -> allowed values.
    """
    labels = {name: clip.row.labels.get(name) for name in sets}
    return Utterance(
        clip.id, clip.dialogue, clip.index, clip.speaker, clip.row.text, video, audio, labels, "all"
    )
