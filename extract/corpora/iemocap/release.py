"""IEMOCAP's files by what they are, and its dialogues as annotated; no medium is opened."""

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
from extract.corpora.common.listing import Folder, list_folder, some, why_not
from extract.corpora.iemocap.facts import SESSIONS
from extract.corpora.iemocap.turns import (
    Evaluation,
    Transcript,
    Turn,
    dialogue_of,
    read_evaluation,
    read_transcript,
    turn_of,
)
from extract.media.files import check_file

MOST: Final = 50  # findings shown at once
_SESSION: Final = re.compile(r"session[1-5]")


@dataclass(frozen=True)
class Files:
    """Paths of the release; folders and names are told apart without regard to case.

    Attributes:
        labels, transcripts, videos: dialogue -> path.
        sounds: turn -> path.
        again: further files of the same kind and name, as a second copy of the corpus has -> the file that is taken.
        notes: on the listing itself.
    """

    labels: Mapping[str, str]
    transcripts: Mapping[str, str]
    videos: Mapping[str, str]
    sounds: Mapping[str, str]
    again: Mapping[str, str]
    notes: Sequence[Problem] = ()


@dataclass(frozen=True)
class Dialogue:
    """A dialogue as annotated.

    Attributes:
        place: the session's folder, relative to the root, with a slash at its end; empty for the root itself.
        sources: path -> digest of what was read.
    """

    id: str
    evaluation: Evaluation
    transcript: Transcript | None
    place: str
    sources: dict[str, str]

    @property
    def turns(self) -> list[Turn]:
        """Its turns in the order of EmoEvaluation."""
        return list(self.evaluation.turns.values())

    @property
    def fragments(self) -> int:
        """Lines with an `XX` id, in both files."""
        return self.evaluation.fragments + (self.transcript.fragments if self.transcript else 0)


def files_of(folder: Folder) -> Files:
    """Sort the files of a folder by what they are.

    Of two copies, the one in the folder of its own session and dialogue counts, then the one nearer to the root.
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
            kinds[kind].add(key, path, _strayed(key, above))
    taken = {kind: copies.taken for kind, copies in kinds.items()}
    again = {path: first for copies in kinds.values() for path, first in copies.again.items()}
    return Files(**taken, again=again, notes=folder.notes())


def _strayed(key: str, above: Sequence[str]) -> int:
    """How many of the folders that name a session or a dialogue name another one than the file does."""
    sessions = [part for part in above if _SESSION.fullmatch(part)]
    dialogues = [found for part in above if (found := dialogue_of(part))]
    wrong_session = bool(sessions) and sessions[-1] != f"session{key[4]}"
    return wrong_session + (bool(dialogues) and not key.startswith(dialogues[-1]))


def sessions_of(names: Iterable[str]) -> set[str]:
    """Sessions that dialogues or turns belong to."""
    return {name[:5] for name in names}


def read_release(root: Path) -> tuple[Files, list[Dialogue], list[Problem]]:
    """Read the whole annotation; dialogues are sorted by session and name.

    Returns:
        the files, the dialogues, and what is unlike a whole release.

    Raises:
        CorpusError: there is no annotation, or it cannot be used; with all findings.
    """
    folder = list_folder(root)
    files = files_of(folder)
    if not files.labels:
        raise CorpusError(
            f"iemocap: no dialog/EmoEvaluation/Ses01F_impro01.txt or the like below {root}",
            hint=_remedy(folder),
        )
    findings: list[str] = []
    problems = _gaps(folder, files)
    dialogues = [_read(root, files, name, findings, problems) for name in sorted(files.labels)]
    if findings:
        more = [f"and {len(findings) - MOST} more"] if len(findings) > MOST else []
        raise CorpusError(
            f"iemocap: the annotation in {root} cannot be used",
            details=[*findings[:MOST], *more],
            hint="unpack these files again from the release; ercache mends no annotation",
        )
    return files, dialogues, problems


def _remedy(folder: Folder) -> str:
    if folder.archives():
        return f"unpack {some(folder.archives())} there first"
    found = some(folder.files, 5) or "nothing"
    return f"found: {found}; give the folder IEMOCAP_full_release with Session1 to Session5 in it"


def _read(root: Path, files: Files, name: str, findings: list[str], problems: list[Problem]) -> Dialogue:
    """A dialogue; faults of its labels make the corpus unusable, those of its transcript cost it the texts."""
    path, spoken = files.labels[name], files.transcripts.get(name)
    sources: dict[str, str] = {}
    evaluation = Evaluation()
    transcript: Transcript | None = None
    try:
        evaluation = read_evaluation(_content(root, path, sources), name, path)
        findings += evaluation.findings
    except Missing as missing:
        findings.append(why_not(path, missing))
    if spoken is not None:
        try:
            transcript = read_transcript(_content(root, spoken, sources))
        except Missing as missing:
            problems.append(Problem(None, "missing", missing.reason.value, spoken))
    return Dialogue(name, evaluation, transcript, _session_folder(path), sources)


def _content(root: Path, path: str, sources: dict[str, str]) -> bytes:
    file = check_file(root, MediaRef(path))  # no link out of the root, no pipe, no empty file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Missing(Reason.UNREADABLE, error.strerror or "") from error
    sources[path] = hashlib.sha256(content).hexdigest()
    return content


def _session_folder(path: str) -> str:
    """`Session1/` of `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`."""
    parents = path.split("/")[:-3]
    return "/".join(parents) + "/" if parents else ""


def _gaps(folder: Folder, files: Files) -> list[Problem]:
    packed = f"; still packed: {some(folder.archives())}" if folder.archives() else ""
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
        detail = f"{len(others)} dialogues have no EmoEvaluation and were left out: {some(sorted(others))}"
        found.append(Problem(None, "note", "dialogue_without_labels", detail))
    return found
