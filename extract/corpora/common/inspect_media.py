"""Digest and first look at every media file of a corpus, in worker processes: a decoder may crash on bad files.

All cores look; what an earlier scan saw of a file that has not changed is not looked at again.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av

from ercache.cache import Status
from ercache.cpus import cores
from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import MediaRef, Problem
from ercache.params.schema import Limits
from ercache.processes import process_pool
from ercache.reasons import Missing, Reason
from extract.corpora.common.entry import Progress
from extract.corpora.common.scan_cache import Memory, Stamp, stamp_of
from extract.media.container import fault_of
from extract.media.files import locate
from extract.media.probe import probe

CHUNK: Final = 16
LIMITS: Final = Limits(seconds=30)
# Raise the number when a look sees something else in the same file.
VERSION: Final = f"2 av{av.__version__}"


@dataclass(frozen=True)
class Seen:
    """What a look at a file showed.

    Attributes:
        sha256: None where there is no file to take it from.
        pictures_end, sound_end: seconds from the start of the file; None where there are none.
        fault: why the file gives nothing, and the tool's own words.
    """

    sha256: str | None
    pictures_end: float | None = None
    sound_end: float | None = None
    video: bool = False
    audio: bool = False
    fault: tuple[Reason, str] | None = None

    @property
    def seconds(self) -> float | None:
        """How long the recording is: as long as its pictures, or its sound where there are none."""
        return self.sound_end if self.pictures_end is None else self.pictures_end


def survey(root: Path, paths: Iterable[str], progress: Progress | None = None) -> dict[str, Seen]:
    """Look at files below a root, by their relative paths; progress counts those known before, too.

    Raises:
        WorkError: no process can be started.
    """
    wanted = sorted(set(paths))
    tick = progress or (lambda done, of: None)
    with Memory(VERSION) as memory:
        seen, stamps = _known(root, wanted, memory)
        left = sorted(set(wanted) - set(seen))

        def found(looks: Mapping[str, Seen]) -> None:
            seen.update(looks)
            for path, look in looks.items():
                if path in stamps and _final(look):
                    memory.keep(stamps[path], _text(look))
            tick(len(seen), len(wanted))

        found({})
        _all(root, [left[i : i + CHUNK] for i in range(0, len(left), CHUNK)], found)
    return seen


def _known(root: Path, paths: Sequence[str], memory: Memory) -> tuple[dict[str, Seen], dict[str, Stamp]]:
    """What needs no look in a process of its own, and the stamps of the files."""
    seen: dict[str, Seen] = {}
    stamps: dict[str, Stamp] = {}
    for path in paths:
        try:
            stamp = stamp_of(locate(root, MediaRef(path)))
        except Missing as missing:
            seen[path] = Seen(None, fault=(missing.reason, missing.detail))
            continue
        if stamp is None:  # no file, or an empty one: no decoder will see it
            seen[path] = _look(root, path)
            continue
        stamps[path] = stamp
        text = memory.recall(stamp)
        if text is not None:
            seen[path] = _seen(text)
    return seen, stamps


def _final(look: Seen) -> bool:
    return look.sha256 is not None and (look.fault is None or look.fault[0].status is Status.MISSING)


def _text(look: Seen) -> str:
    return json.dumps([look.sha256, look.pictures_end, look.sound_end, look.video, look.audio, look.fault])


def _seen(text: str) -> Seen:
    sha256, pictures_end, sound_end, video, audio, fault = json.loads(text)
    return Seen(sha256, pictures_end, sound_end, video, audio, fault and (Reason(fault[0]), fault[1]))


Found = Callable[[Mapping[str, Seen]], None]


def _all(root: Path, left: list[list[str]], found: Found) -> None:
    """Look at chunks of files, in as many processes as there are cores."""
    workers = cores()
    while left:
        done: set[str] = set()

        def tell(looks: Mapping[str, Seen], done: set[str] = done) -> None:
            done.update(looks)
            found(looks)

        _together(root, left, workers, tell)
        left = [chunk for chunk in left if chunk[0] not in done]
        # A worker died. Chunks are begun in order, so the file that killed it is in one of the first of those left.
        for chunk in left[:workers]:
            found(_singly(root, chunk))
        left = left[workers:]


def _together(root: Path, chunks: Sequence[list[str]], workers: int, found: Found) -> None:
    """Look at chunks of files until all are done or a worker dies."""
    pool = process_pool(min(workers, len(chunks)))
    try:
        futures = {pool.submit(look, root, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            found(dict(zip(futures[future], future.result(), strict=True)))
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def look(root: Path, paths: Sequence[str]) -> list[Seen]:
    """Look at some files, one after the other."""
    return [_look(root, path) for path in paths]


def problems_of(utterance: str, ref: MediaRef | None, seen: Seen | None, *media: str) -> list[Problem]:
    """What the look at a file means for an utterance that needs video, audio or both of it."""
    if ref is None or seen is None:
        return []
    if seen.fault is not None:
        reason, words = seen.fault
        return [Problem(utterance, reason.status.value, reason.value, _detail(ref, words))]
    lacks = {"video": not seen.video, "audio": not seen.audio}
    return [
        Problem(utterance, reason.status.value, reason.value, ref.path)
        for medium, reason in (("video", Reason.NO_VIDEO), ("audio", Reason.NO_AUDIO))
        if medium in media and lacks[medium]
    ]


def _detail(ref: MediaRef, words: str) -> str:
    return ref.path if not words or words in ref.path else f"{ref.path}: {words}"


def _look(root: Path, path: str) -> Seen:
    """What a look at a file shows; whatever a library does with it concerns this file alone."""
    sha256 = None
    try:
        file = locate(root, MediaRef(path))
        if file.is_file() and os.access(file, os.R_OK):
            sha256 = digest_of_file(file)
        facts = probe(file, LIMITS)
    except Missing as missing:
        return Seen(sha256, fault=(missing.reason, missing.detail))
    except Exception as error:
        fault = fault_of(error)
        return Seen(sha256, fault=(fault.reason, fault.detail))
    pictures = facts.pictures_end
    return Seen(sha256, pictures, facts.sound_end, pictures is not None, facts.audio_rate is not None)


def _singly(root: Path, paths: Sequence[str]) -> dict[str, Seen]:
    """Look at files of which one or another kills the process that looks at it.

    Raises:
        WorkError: no process can be started, so that no file is to blame.
    """
    seen: dict[str, Seen] = {}
    pool = process_pool(1)
    for path in paths:
        try:
            seen[path] = pool.submit(look, root, [path]).result()[0]
        except BrokenProcessPool as error:
            digest = digest_of_file(locate(root, MediaRef(path)))
            seen[path] = Seen(digest, fault=(Reason.CRASH, "the process that looked at it died"))
            pool = process_pool(1)
            if pool.submit(abs, 0).exception() is not None:
                message = "the processes that look at media files do not start"
                raise WorkError(
                    message, hint="scan from a script file, under `if __name__ == ...`"
                ) from error
    pool.shutdown(wait=True, cancel_futures=True)
    return seen
