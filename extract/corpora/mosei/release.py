"""What lies in a CMU-MOSEI folder: recordings, cut clips, transcripts and folds, wherever they were unpacked."""

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
from extract.corpora.common.listing import Folder, content_of, some, why_not
from extract.corpora.common.subtitles import decode

FOLDS: Final = ("cmu_mosei_std_folds.py", "standard_folds.json")
SUBSETS: Final = {"train": "train", "valid": "dev", "test": "test"}
_SEPARATOR: Final = "___"


@dataclass(frozen=True)
class Segment:
    """A line of a transcript; seconds in the recording."""

    clip: str
    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Release:
    """Paths by video id (`full`, `sound`, `texts`) and by `<video>_<clip>` (`cut`); tables of raters.

    Attributes:
        again: further files of the same kind and name -> the file that is taken.
    """

    full: Mapping[str, str]
    sound: Mapping[str, str]
    cut: Mapping[str, str]
    texts: Mapping[str, str]
    raters: tuple[str, ...]
    again: Mapping[str, str]


def release_of(folder: Folder) -> Release:
    """Sort the files of a folder by what they are; the first of several of a name, nearest to the root, is taken."""
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
    full, sound, cut, texts = (found[kind].taken for kind in ("full", "sound", "cut", "texts"))
    again = {path: taken for copies in found.values() for path, taken in copies.again.items()}
    return Release(full, sound, cut, texts, tuple(raters), again)


def read_segments(video: str, content: bytes, name: str) -> tuple[list[Segment], list[tuple[str, str]]]:
    """Lines `video___clip___start___end___text` of a transcript, and what was noticed (reason, detail).

    The video's own id is taken off first: some hold two underscores, and some texts begin with one.
    """
    notes: list[tuple[str, str]] = []
    segments: dict[str, Segment] = {}
    try:
        # Not splitlines(): a text may hold one of the rarer characters that it breaks at.
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
            segments[parts[0]] = Segment(parts[0], *times, parts[3].strip())
    return list(segments.values()), notes


def _times(parts: list[str]) -> tuple[float, float] | None:
    try:
        start, end = float(parts[1]), float(parts[2])
    except ValueError:  # the caller tells the line
        return None
    return (start, end) if math.isfinite(start) and math.isfinite(end) else None


def folds_of(folder: Folder) -> str | None:
    """Path of the file with the standard folds, if there is one."""
    return next((found for name in FOLDS for found in folder.named(name)), None)


def read_folds(folder: Folder) -> tuple[dict[str, list[str]], str]:
    """Subset -> videos of the standard folds, and a word on what is wrong; both empty where there is no such file.

    The SDK's file is a Python source; its lists of strings are read, nothing of it is run.
    """
    path = folds_of(folder)
    if path is None:
        return {}, ""
    try:
        text = decode(content_of(folder.root, path))
        raw: dict[str, Any] = json.loads(text) if path.lower().endswith(".json") else _assigned(text)
        named = {key.removeprefix("standard_").removesuffix("_fold"): value for key, value in raw.items()}
        folds = {SUBSETS[key]: value for key, value in named.items() if key in SUBSETS}
        good = all(isinstance(v, list) and all(isinstance(i, str) for i in v) for v in folds.values())
    except Missing as missing:
        return {}, why_not(path, missing)
    except (ValueError, SyntaxError, AttributeError, RecursionError, MemoryError) as error:
        return {}, f"{path}: {type(error).__name__}: {error}"
    if len(folds) != len(SUBSETS) or not good:
        return {}, f"{path}: has no lists of ids for train, valid and test"
    places = Counter(video for videos in folds.values() for video in set(videos))
    torn = sorted(video for video, count in places.items() if count > 1)
    if torn:
        return {}, f"{path}: {len(torn)} videos stand in more than one fold: {some(torn)}"
    return folds, ""


def _assigned(source: str) -> dict[str, object]:
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
