"""Scan a folder of your own: clips with a table, or long recordings with a transcript each (corpus `folder`).

The table is `utterances.csv`, or the only .csv or .tsv file in the root folder (columns in table.py). With a table,
every row is an utterance. Without a table, every .srt, .vtt, .csv or .tsv file beside a recording of the same name is
the transcript of a dialogue (`talk.mp4` with `talk.srt` or `talk.en.vtt`; see pairing.py). Each turn or row of a
transcript is an utterance; its times say where it is in the recording. Without any transcript, every clip is an
utterance whose speaker and text are unknown.

Speakers come from the table's column or from the subtitles (see subtitles.py); otherwise they are `unknown`. Label sets
are the label columns of the table. The values of a label set are those that `corpora.folder.label_sets` in params.yaml
lists, or, if it lists none, all values in the table, sorted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, Problem
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.wording import count_noun
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.equivalent_names import to_nfc
from extract.corpora.common.inspect_media import inspect_media
from extract.corpora.common.listing import (
    FolderListing,
    counted,
    describe_unreadable,
    list_folder,
    list_some,
    read_content,
)
from extract.corpora.common.ranges import BEYOND_FILE, BeyondFile, resolve_references
from extract.corpora.common.subtitles import SUFFIXES, UNKNOWN, read_subtitles
from extract.corpora.common.suffixes import stem_of
from extract.corpora.folder.labels import unify_labels
from extract.corpora.folder.pairing import Pairing, TranscriptPair
from extract.corpora.folder.rows import FolderClip, Recordings, clips_of, utterance_of
from extract.corpora.folder.splits import notes_of_official, notes_of_speakers, promises_of, splits_of
from extract.corpora.folder.table import ClipRow, ClipTable, read_clip_table

TABLES: Final = (".csv", ".tsv")
WORKBOOKS: Final = (".xlsx", ".xls", ".ods", ".numbers")
TABLE: Final = "utterances.csv"
MAX_FINDINGS: Final = 50
# Notes on files that are merged into one, with the number of utterances they concern.
MERGED: Final = ("other_case", "other_form", "ambiguous_name")
SPLIT_HINT: Final = (
    "add recordings with transcripts, or give a table the column `split` and name the split `official`"
)


class Switches(Strict):
    """The user's choices for the corpus `folder` in params.yaml.

    Attributes:
        table: path of the table of utterances, relative to the root folder. With None, a table in the root folder is
            searched.
        encoding: encoding of tables and transcripts without a byte order mark.
        label_sets: name of a label set -> its values in their order; any other value in the table is a fault.
        names_in_text: whether `NAME: text` names the speaker of a subtitle.
        beyond_file: what to do with an utterance that ends after its file: `trim` its end, `keep` it unchanged, or
            `drop` it.
        bad_rows: what to do if rows are faulty: `refuse` the whole corpus with an error that lists the faults, or
            `drop` these rows and report them as problems in the manifest.
    """

    table: str | None = None
    encoding: str = "utf-8"
    label_sets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    names_in_text: bool = True
    beyond_file: BeyondFile = "trim"
    bad_rows: Literal["refuse", "drop"] = "refuse"

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            b"    ".decode(name)
        except UnicodeDecodeError:  # the encoding exists, but four blanks are no text in it
            return name
        except LookupError as error:
            raise ValueError(f"no text encoding is called {name!r}") from error
        return name


@dataclass
class FolderContents:
    """What the tables and transcripts of a folder hold, collected while they are read.

    Attributes:
        rows: the rows of all tables and transcripts.
        label_sets: names of the label sets.
        problems: problems and notes for the manifest.
        findings: messages about faults.
        sources: paths of the tables and transcripts.
        bare: whether there is neither a table nor a transcript, so that every clip is an utterance.
    """

    rows: list[ClipRow] = field(default_factory=list)
    label_sets: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    bare: bool = False

    def note(self, reason: str, detail: str, count: int | None = None) -> None:
        """Add a note on the whole corpus to `problems`.

        Args:
            reason: short name of the kind of note.
            detail: what was found.
            count: number of affected utterances; None if the note is not about utterances.
        """
        self.problems.append(Problem(None, "note", reason, detail, count))


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read a folder of clips with a table, or of recordings with transcripts, and return its manifest.

    Raises:
        CorpusError: the folder has no table, transcript or clip, or rows are faulty (unless `bad_rows` is `drop`);
            the error lists all faults.
    """
    folder = list_folder(root)
    recordings = Recordings(folder)
    pairing = Pairing(recordings.media)
    path = _table_of(folder, pairing, switches)
    if path is not None:
        found = _from_table(folder, path, switches)
    else:
        found = _from_transcripts(folder, recordings.media, pairing, switches)
    found.problems += folder.notes()
    found.rows, message = unify_labels(found.rows, found.label_sets, switches.label_sets)
    for note in message:
        found.note(*note)
    sets = {name: switches.label_sets.get(name) or _values(found.rows, name) for name in found.label_sets}
    clips, faults = clips_of(found.rows, recordings, path, sets)
    found.findings += [
        f"no column of the label set {name!r}" for name in switches.label_sets if name not in sets
    ]
    _refuse(root, [*found.findings, *faults], clips, switches)
    found.problems += [Problem(None, "note", "left_out", fault) for fault in (*found.findings, *faults)]
    _note_clips(found, recordings, clips, path is not None or found.bare)
    _note_misplaced_files(found, recordings, clips)
    media_facts = inspect_media(root, {p for c in clips for p in c.paths if p in recordings}, progress)
    utterances = []
    for clip in clips:
        video, audio, problems = resolve_references(
            clip.id, clip.video, clip.audio, media_facts, switches.beyond_file
        )
        if switches.beyond_file == "drop" and any(p.reason == BEYOND_FILE for p in problems):
            found.note("left_out", f"{clip.id}: {problems[-1].detail}")
            continue
        found.problems += problems
        utterances.append(utterance_of(clip, video, audio, sets))
    splits = splits_of(utterances, {clip.id: clip.row.split for clip in clips})
    if "dialogues" not in splits:
        number = len({u.dialogue for u in utterances})
        found.note(
            "split_not_made",
            f"dialogues: the folder holds {number}, and train, dev and test need one each; {SPLIT_HINT}",
        )
    # A removed utterance leaves no gap in the indices of its dialogue.
    ranks: dict[str, int] = {}
    for place_in, u in enumerate(utterances):
        ranks[u.dialogue] = ranks.get(u.dialogue, -1) + 1
        utterances[place_in] = u if u.index == ranks[u.dialogue] else replace(u, index=ranks[u.dialogue])
    for shared in notes_of_speakers(utterances, splits):
        found.note(*shared)
    return Manifest(
        corpus="folder",
        version="files as found",
        sources={source: digest_of_file(root / source) for source in found.sources},
        label_sets=sets,
        utterances=tuple(utterances),
        problems=tuple(found.problems),
        splits=splits,
        promises=promises_of(splits),
    )


def _table_of(folder: FolderListing, pairing: Pairing, switches: Switches) -> str | None:
    """Return the path of the table of utterances; None if there is none.

    A table with the same name as a recording is not searched: it is the transcript of this recording.

    Raises:
        CorpusError: the table named in params.yaml is absent, or there are several tables.
    """
    if switches.table is not None:
        if switches.table not in folder.files:
            raise CorpusError(
                f"corpus folder: the table {switches.table} is not in the folder {folder.root}",
                hint="correct the path corpora.folder.table in params.yaml; it is relative to this folder",
            )
        return switches.table
    tables = [path for path in folder.files if "/" not in path and path.lower().endswith(TABLES)]
    tables = [path for path in tables if not pairing.has_recording(path)]
    named = [path for path in tables if path.lower() == TABLE]
    if TABLE in tables or len(named or tables) < 2:
        return TABLE if TABLE in tables else next(iter(named or tables), None)
    raise CorpusError(
        f"folder: {folder.root} holds {len(tables)} tables: {list_some(tables)}",
        hint=f"name the table of utterances {TABLE}, or set corpora.folder.table in params.yaml",
    )


def _from_table(folder: FolderListing, path: str, switches: Switches) -> FolderContents:
    found = FolderContents()
    content = _content(found, folder.root, path)
    if content is not None:
        _add_table(found, read_clip_table(content, path, switches.encoding))
    idle = [p for p in folder.files if p.lower().endswith(SUFFIXES)]
    if idle:
        found.note("transcript_not_used", f"{path} is the table: {list_some(idle)}")
    return found


def _from_transcripts(
    folder: FolderListing, media: Sequence[str], pairing: Pairing, switches: Switches
) -> FolderContents:
    found = FolderContents()
    transcripts = [path for path in folder.files if path.lower().endswith((*SUFFIXES, *TABLES))]
    books = [path for path in folder.files if path.lower().endswith(WORKBOOKS)]
    if not transcripts and media and not books:
        return _from_clips(media, pairing)
    if not transcripts:
        archives = f"unpack {list_some(folder.archives())} there first" if folder.archives() else ""
        hint = f"put clips there, or {TABLE} with the columns file, text, speaker, emotion"
        hint = f"save {list_some(books, 2)} as `CSV UTF-8`" if books else hint
        raise CorpusError(
            f"folder: {folder.root} has neither a table nor a transcript{' nor clips' * (not media)}",
            hint=archives or hint,
        )
    paired, faults = pairing.choose(transcripts)
    found.findings += faults
    for choice in paired:
        for note in choice.notes:
            found.note(*note)
        _add_transcript(found, folder, choice, switches)
    stems = {choice.stem for choice in paired}
    idle = [path for path in media if stem_of(path) not in stems]
    if idle:
        found.note("media_without_transcript", f"{count_noun(len(idle), 'file')}: {list_some(idle)}")
    return found


def _from_clips(media: Sequence[str], pairing: Pairing) -> FolderContents:
    """Make one utterance of every clip in a folder without a table or transcript.

    Files that differ only in their suffix are the same clip. Speakers and texts stay unknown.
    """
    found = FolderContents(bare=True)
    for recording in pairing.recordings(media):
        where = recording.video or recording.audio or recording.stem
        found.rows.append(ClipRow(where, video=recording.video, audio=recording.audio))
    number = len(found.rows)
    found.note(
        "no_transcript",
        f"{count_noun(number, 'clip')} without a table or transcript: each is one utterance, speaker and text unknown",
        number,
    )
    return found


def _add_transcript(
    found: FolderContents, folder: FolderListing, pair: TranscriptPair, switches: Switches
) -> None:
    path, root = pair.transcript, folder.root
    content = _content(found, root, path)
    if content is None:
        return
    if path.lower().endswith(TABLES):
        table = read_clip_table(content, path, switches.encoding, of_recording=True)
    else:
        subtitles = read_subtitles(content, path, switches.encoding, switches.names_in_text)
        # Utterances without a speaker are counted once, over all transcripts.
        notes = [note for note in subtitles.notes if note[0] != "no_speaker"]
        table = ClipTable(notes=notes, findings=subtitles.findings)
        table.rows = [
            ClipRow(
                f"{path}, {c.start:g} s", speaker=c.speaker, text=c.text or None, start=c.start, end=c.end
            )
            for c in subtitles.cues
        ]
    dialogue = to_nfc(pair.stem).replace("/", "__")
    table.rows = [
        replace(row, dialogue=row.dialogue or dialogue)
        if row.file or row.video
        else replace(row, dialogue=row.dialogue or dialogue, video=pair.video, audio=row.audio or pair.audio)
        for row in table.rows
    ]
    if pair.video is None and pair.audio is None:
        beside = [p for p in folder.files if stem_of(p) == pair.stem and p != path]
        message = f"; {list_some(beside)} is no recording of a kind that is read" if beside else ""
        found.note("transcript_without_media", f"{path}: its texts are kept{message}")
    _add_table(found, table)


def _content(found: FolderContents, root: Path, path: str) -> bytes | None:
    try:
        content = read_content(root, path)
    except Missing as missing:
        found.findings.append(describe_unreadable(path, missing))
        return None
    found.sources.append(path)
    return content


def _add_table(found: FolderContents, table: ClipTable) -> None:
    found.rows += table.rows
    found.label_sets += [name for name in table.label_sets if name not in found.label_sets]
    found.findings += table.findings
    for note in table.notes:
        found.note(*note)


def _values(rows: Iterable[ClipRow], name: str) -> tuple[str, ...]:
    return tuple(sorted({value for row in rows if (value := row.labels.get(name)) is not None}))


def _refuse(root: Path, findings: Sequence[str], clips: Sequence[FolderClip], switches: Switches) -> None:
    if not findings and clips:
        return
    if switches.bad_rows == "refuse" or not clips:
        more = [f"and {len(findings) - MAX_FINDINGS} more"] if len(findings) > MAX_FINDINGS else []
        raise CorpusError(
            f"folder: {root} cannot be used: {counted(len(findings), 'fault')}",
            details=[*findings[:MAX_FINDINGS], *more],
            hint="correct these faults, or leave out the faulty rows with "
            "`corpora: {folder: {bad_rows: drop}}` in params.yaml",
        )


def _note_clips(
    found: FolderContents, recordings: Recordings, clips: Sequence[FolderClip], table: bool
) -> None:
    used = {path for clip in clips for path in clip.paths}
    idle = [path for path in recordings.media if path not in used]
    if table and idle:
        found.note("media_without_row", f"{count_noun(len(idle), 'file')}: {list_some(idle)}")
    nobody = sum(UNKNOWN in clip.speaker.split("/") for clip in clips)
    if nobody and not found.bare:
        message = f"{nobody} of {len(clips)} utterances have the speaker {UNKNOWN!r}"
        found.note("no_speaker", message, nobody)
    for note in notes_of_official(clips):
        found.note(*note)
    merged: dict[str, list[str]] = {reason: [] for reason in MERGED}
    for clip in clips:
        for reason, detail in clip.notes:
            if reason in merged:
                merged[reason].append(detail)
            else:
                found.problems.append(Problem(clip.id, "note", reason, detail))
    for reason, details in merged.items():
        if details:
            message = f"{counted(len(details), 'utterance')}: {list_some(dict.fromkeys(details))}"
            found.note(reason, message, len(details))


def _note_misplaced_files(found: FolderContents, recordings: Recordings, clips: Sequence[FolderClip]) -> None:
    """Add a note on files that are absent where the table says, while another folder has a file of the same name.

    The file in the other folder is not used, because only the user can say whether it is meant.
    """
    absent = {c.id: [path for path in c.paths if path not in recordings] for c in clips}
    elsewhere = {name: recordings.same_name(paths[0]) for name, paths in absent.items() if paths}
    known = {name: paths for name, paths in elsewhere.items() if paths}
    if known:
        pairs = list_some(f"{absent[name][0]} may be {paths[0]}" for name, paths in known.items())
        found.note(
            "other_place",
            f"{counted(len(known), 'absent file')} of the same name elsewhere: {pairs}",
            len(known),
        )


ENTRY: Final = CorpusEntry(
    key="folder",
    name="Folder: your own clips with a table, or recordings with transcripts",
    modalities=("text", "audio", "visual"),
    parts=("all",),
    label_sets={},
    licence="yours",
    how_to_get="write utterances.csv beside your clips, or put .srt, .vtt or .csv transcripts beside your recordings",
    Switches=Switches,
    scan=scan,
)
