"""Find IEMOCAP's files and read the annotation of its dialogues. No media file is opened."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ercache.errors import CorpusError
from ercache.manifest import MediaRef, Problem
from ercache.reasons import Missing, Reason
from extract.corpora.common.copies import Copies
from extract.corpora.common.listing import FolderListing, describe_unreadable, list_folder, list_some
from extract.corpora.iemocap.facts import SESSIONS
from extract.corpora.iemocap.turns import (
    Evaluation,
    IemocapTranscript,
    IemocapTurn,
    dialogue_of,
    read_evaluation,
    read_transcript,
    turn_of,
)
from extract.media.files import check_file

MAX_FINDINGS: Final = 50  # findings shown in an error
_SESSION: Final = re.compile(r"session[1-5]")


@dataclass(frozen=True)
class IemocapFiles:
    """Paths of IEMOCAP's files; names of folders and files are recognised in upper and lower case.

    Attributes:
        labels, transcripts, videos: dialogue -> path.
        sounds: turn -> path.
        duplicates: path of an unused file -> path of the file of the same kind and name that is used instead. Unused
            files come from a second copy of the corpus.
        notes: problems of the folder, such as file names that are not UTF-8.
    """

    labels: Mapping[str, str]
    transcripts: Mapping[str, str]
    videos: Mapping[str, str]
    sounds: Mapping[str, str]
    duplicates: Mapping[str, str]
    notes: Sequence[Problem] = ()


@dataclass(frozen=True)
class AnnotatedDialogue:
    """What the annotation files of a dialogue say: its turns with labels, and their texts.

    Attributes:
        id: name of the dialogue.
        evaluation: turns of the dialogue with their labels.
        transcript: texts of the turns; None without a transcript.
        place: folder of the session relative to the root, with a slash at its end; empty for the root itself.
        sources: path -> digest of the annotation files that were read.
    """

    id: str
    evaluation: Evaluation
    transcript: IemocapTranscript | None
    place: str
    sources: dict[str, str]

    @property
    def turns(self) -> list[IemocapTurn]:
        """The turns of the dialogue, in the order of the EmoEvaluation file."""
        return list(self.evaluation.turns.values())

    @property
    def fragments(self) -> int:
        """Number of lines in the label file and the transcript whose id contains `XX`. Such lines are no turns."""
        return self.evaluation.fragments + (self.transcript.fragments if self.transcript else 0)


def files_of(folder: FolderListing) -> IemocapFiles:
    """Find IEMOCAP's files in a folder and sort them by kind.

    If a file exists twice, the copy in the folder of its own session and dialogue is used. If this does not decide, the
    copy nearer to the root is used.
    """
    kinds: dict[str, Copies[str]] = {kind: Copies() for kind in ("labels", "transcripts", "videos", "sounds")}
    for path in folder.files:
        parents, _, name = path.rpartition("/")
        stem, _, suffix = name.rpartition(".")
        above = ["", *parents.lower().split("/")]
        kind, key = "", None
        match (above[-1], suffix.lower()):
            case ("emoevaluation", "txt"):
                kind, key = "labels", dialogue_of(stem)
            case ("transcriptions", "txt"):
                kind, key = "transcripts", dialogue_of(stem)
            case ("divx", "avi"):
                kind, key = "videos", dialogue_of(stem)
            case (_, "wav") if above[-2] == "wav" and dialogue_of(above[-1]):
                kind, key = "sounds", turn_of(stem)
        if key is not None:
            kinds[kind].add(key, path, _misplacement(key, above))
    chosen = {kind: copies.chosen for kind, copies in kinds.items()}
    duplicates = {path: first for copies in kinds.values() for path, first in copies.duplicates.items()}
    return IemocapFiles(**chosen, duplicates=duplicates, notes=folder.notes())


def _misplacement(key: str, above: Sequence[str]) -> int:
    """Count the wrong folders above a file, 0 to 2: a folder of another session, and a folder of another dialogue.

    Args:
        key: name of the dialogue or turn that the file belongs to.
        above: names of the folders above the file, in lower case.
    """
    sessions = [part for part in above if _SESSION.fullmatch(part)]
    dialogues = [found for part in above if (found := dialogue_of(part))]
    wrong_session = bool(sessions) and sessions[-1] != f"session{key[4]}"
    return wrong_session + (bool(dialogues) and not key.startswith(dialogues[-1]))


def sessions_of(names: Iterable[str]) -> set[str]:
    """Return the sessions (`Ses01` to `Ses05`) of dialogues or turns, from the beginnings of their names."""
    return {name[:5] for name in names}


def read_release(root: Path) -> tuple[IemocapFiles, list[AnnotatedDialogue], list[Problem]]:
    """Read the annotation of all dialogues, sorted by session and name.

    Returns:
        Three values: the paths of all files, the annotated dialogues, and problems that say what a complete release
        has and the folder lacks.

    Raises:
        CorpusError: there is no annotation, or it has faults; the error lists them.
    """
    folder = list_folder(root)
    files = files_of(folder)
    if not files.labels:
        raise CorpusError(
            f"iemocap: no annotation file such as dialog/EmoEvaluation/Ses01F_impro01.txt below {root}",
            hint=_remedy(folder),
        )
    findings: list[str] = []
    problems = _missing_files(folder, files)
    dialogues = [_read(root, files, name, findings, problems) for name in sorted(files.labels)]
    if findings:
        more = [f"and {len(findings) - MAX_FINDINGS} more"] if len(findings) > MAX_FINDINGS else []
        raise CorpusError(
            f"iemocap: the annotation in {root} cannot be used",
            details=[*findings[:MAX_FINDINGS], *more],
            hint="unpack these files again from the release; ercache does not repair annotation",
        )
    return files, dialogues, problems


def _remedy(folder: FolderListing) -> str:
    if folder.archives():
        return f"unpack {list_some(folder.archives())} there first"
    found = list_some(folder.files, 5) or "nothing"
    return f"found: {found}; give the folder IEMOCAP_full_release with Session1 to Session5 in it"


def _read(
    root: Path, files: IemocapFiles, name: str, findings: list[str], problems: list[Problem]
) -> AnnotatedDialogue:
    """Read the label file and the transcript of a dialogue.

    Args:
        root: folder of the corpus.
        files: paths of all files.
        name: name of the dialogue.
        findings: faults of the label file are added here; they make the corpus unusable.
        problems: an unreadable transcript is added here; the texts of the dialogue are then missing.
    """
    path, spoken = files.labels[name], files.transcripts.get(name)
    sources: dict[str, str] = {}
    evaluation = Evaluation()
    transcript: IemocapTranscript | None = None
    try:
        evaluation = read_evaluation(_content(root, path, sources), name, path)
        findings += evaluation.findings
    except Missing as missing:
        findings.append(describe_unreadable(path, missing))
    if spoken is not None:
        try:
            transcript = read_transcript(_content(root, spoken, sources))
        except Missing as missing:
            problems.append(Problem(None, "missing", missing.reason.value, spoken))
    return AnnotatedDialogue(name, evaluation, transcript, _session_folder(path), sources)


def _content(root: Path, path: str, sources: dict[str, str]) -> bytes:
    file = check_file(root, MediaRef(path))  # rejects links out of the root, pipes and empty files
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Missing(Reason.UNREADABLE, error.strerror or "") from error
    sources[path] = hashlib.sha256(content).hexdigest()
    return content


def _session_folder(path: str) -> str:
    """Return the session folder of a label file.

    For example, `Session1/` for `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`.
    """
    parents = path.split("/")[:-3]
    return "/".join(parents) + "/" if parents else ""


def _missing_files(folder: FolderListing, files: IemocapFiles) -> list[Problem]:
    packed = f"; still packed: {list_some(folder.archives())}" if folder.archives() else ""
    found: list[Problem] = []
    for session in SESSIONS:
        media = {
            "dialog/EmoEvaluation/*.txt": files.labels,
            "dialog/transcriptions/*.txt": files.transcripts,
            "dialog/avi/DivX/*.avi (pictures)": files.videos,
            "sentences/wav/*/*.wav (sound)": files.sounds,
        }
        lacking = [what for what, kind in media.items() if session not in sessions_of(kind)]
        if lacking:
            detail = f"{session}: no {', no '.join(lacking)}{packed}"
            found.append(Problem(None, "missing", "not_in_corpus", detail))
    others = {*files.transcripts, *files.videos, *(turn[:-5] for turn in files.sounds)} - set(files.labels)
    if others:
        detail = (
            f"{len(others)} dialogues have no EmoEvaluation and were left out: {list_some(sorted(others))}"
        )
        found.append(Problem(None, "note", "dialogue_without_labels", detail))
    return found
