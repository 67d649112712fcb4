"""Find the files of CMU-MOSEI in any subfolder: recordings, cut clips, transcripts, raters' tables and folds."""

import ast
import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ercache.reasons import Missing
from extract.corpora.common.copies import Copies
from extract.corpora.common.listing import FolderListing, describe_unreadable, list_some, read_content
from extract.corpora.common.subtitles import decode

FOLDS: Final = ("cmu_mosei_std_folds.py", "standard_folds.json")
SUBSETS: Final = {"train": "train", "valid": "dev", "test": "test"}
_SEPARATOR: Final = "___"


@dataclass(frozen=True)
class TranscriptSegment:
    """A line of a transcript: clip number, start and end (seconds in the recording) and text."""

    clip: str
    start: float
    end: float
    text: str


@dataclass(frozen=True)
class MoseiFiles:
    """Paths of CMU-MOSEI's files, by kind.

    Attributes:
        full: video id -> path of the complete recording.
        sound: video id -> path of its sound file.
        cut: `<video id>_<clip number>` -> path of a clip that the release contains already cut.
        texts: video id -> path of the transcript.
        raters: paths of the raters' tables.
        duplicates: path of an unused file -> path of the file of the same kind and name that is used instead.
    """

    full: Mapping[str, str]
    sound: Mapping[str, str]
    cut: Mapping[str, str]
    texts: Mapping[str, str]
    raters: tuple[str, ...]
    duplicates: Mapping[str, str]


def find_files(folder: FolderListing) -> MoseiFiles:
    """Find CMU-MOSEI's files in a folder and sort them by kind.

    Of several files with the same name and kind, the one nearest to the root is used.
    """
    found: dict[str, Copies[str]] = defaultdict(Copies)
    raters: list[str] = []
    for path in folder.files:
        place, _, name = path.rpartition("/")
        stem, _, suffix = name.rpartition(".")
        within = place.casefold().split("/")
        if suffix.lower() == "mp4":
            found["cut" if "segmented" in within else "full"].add(stem, path)
        elif suffix.lower() == "wav" and "segmented" not in within:
            found["sound"].add(stem, path)
        elif suffix.lower() == "txt" and ("segmented" in within or "transcript" in within):
            found["texts"].add(stem, path)
        elif suffix.lower() == "csv" and within[-1] == "labels":
            raters.append(path)
    full, sound, cut, texts = (found[kind].chosen for kind in ("full", "sound", "cut", "texts"))
    duplicates = {path: chosen for copies in found.values() for path, chosen in copies.duplicates.items()}
    return MoseiFiles(full, sound, cut, texts, tuple(raters), duplicates)


def read_segments(
    video: str, content: bytes, name: str
) -> tuple[list[TranscriptSegment], list[tuple[str, str]]]:
    """Read the segments of a transcript, which has lines `video___clip___start___end___text`.

    The video id is removed before a line is cut at `___`, because some ids contain underscores themselves.

    Args:
        video: the video id.
        content: bytes of the transcript.
        name: name of the transcript, for notes.

    Returns:
        Two lists: the segments, and notes (reason, detail) on lines that could not be used.
    """
    notes: list[tuple[str, str]] = []
    segments: dict[str, TranscriptSegment] = {}
    try:
        # Not splitlines(): a text may contain one of the rare characters at which it breaks lines.
        lines = [line.rstrip("\n") for line in io.StringIO(decode(content), newline=None)]
    except ValueError as error:
        return [], [("unreadable_transcript", f"{name}: {error}")]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        parts = line.removeprefix(video + _SEPARATOR).split(_SEPARATOR, 3)
        times = _times(parts) if line.startswith(video + _SEPARATOR) and len(parts) == 4 else None
        if times is None or not parts[0].isprintable() or "/" in parts[0] or "\\" in parts[0]:
            notes.append(("unreadable_line", f"{where}: {line[:60]!r}"))
        elif parts[0] in segments:
            notes.append(
                ("repeated_segment", f"{where}: clip {parts[0]} stands there twice; the first is taken")
            )
        else:
            segments[parts[0]] = TranscriptSegment(parts[0], *times, parts[3].strip())
    return list(segments.values()), notes


def _times(parts: list[str]) -> tuple[float, float] | None:
    try:
        start, end = float(parts[1]), float(parts[2])
    except ValueError:  # the caller reports the line
        return None
    return (start, end) if math.isfinite(start) and math.isfinite(end) else None


def folds_of(folder: FolderListing) -> str | None:
    """Return the path of the file that says which videos are in train, dev and test; None if there is none."""
    return next((found for name in FOLDS for found in folder.files_named(name)), None)


def read_folds(folder: FolderListing) -> tuple[dict[str, list[str]], str]:
    """Read CMU-MOSEI's standard folds: which videos belong to train, dev and test.

    The file of the CMU-MultimodalSDK is Python source code. Its lists of strings are parsed; none of its code is run.

    Returns:
        Two values: a dict from subset (train, dev, test) to video ids; and a message that says why the file is
        unusable. One of them is empty, and both if there is no such file.
    """
    path = folds_of(folder)
    if path is None:
        return {}, ""
    try:
        text = decode(read_content(folder.root, path))
        raw: dict[str, Any] = json.loads(text) if path.lower().endswith(".json") else _assigned(text)
        named = {key.removeprefix("standard_").removesuffix("_fold"): value for key, value in raw.items()}
        folds = {SUBSETS[key]: value for key, value in named.items() if key in SUBSETS}
        good = all(isinstance(v, list) and all(isinstance(i, str) for i in v) for v in folds.values())
    except Missing as missing:
        return {}, describe_unreadable(path, missing)
    except (ValueError, SyntaxError, AttributeError, RecursionError, MemoryError) as error:
        return {}, f"{path}: {type(error).__name__}: {error}"
    if len(folds) != len(SUBSETS) or not good:
        return {}, f"{path}: has no lists of ids for train, valid and test"
    places = Counter(video for videos in folds.values() for video in set(videos))
    torn = sorted(video for video, count in places.items() if count > 1)
    if torn:
        return {}, f"{path}: {len(torn)} videos stand in more than one fold: {list_some(torn)}"
    return folds, ""


def _assigned(source: str) -> dict[str, object]:
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
