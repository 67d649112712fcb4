"""Digest and first look at every media file of a corpus, in worker processes: a decoder may crash on bad files."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import MediaRef, Problem
from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.corpora.entry import Progress
from extract.probe import locate, probe
from extract.processes import process_pool

WORKERS = 2
CHUNK = 16
LIMITS = Limits(seconds=30)


@dataclass(frozen=True)
class Seen:
    """What a look at a file showed.

    Attributes:
        sha256: None where there is no file to take it from.
        seconds: from the first picture to the end of the last; the container's word where there is no picture.
        fault: why the file gives nothing, and the tool's own words.
    """

    sha256: str | None
    seconds: float | None = None
    video: bool = False
    audio: bool = False
    fault: tuple[Reason, str] | None = None


def survey(root: Path, paths: Iterable[str], progress: Progress | None = None) -> dict[str, Seen]:
    """Look at files below a root, by their relative paths."""
    wanted = sorted(set(paths))
    left = [wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)]
    seen: dict[str, Seen] = {}
    tick = progress or (lambda done, of: None)
    while left:
        _together(root, left, seen, lambda: tick(len(seen), len(wanted)))
        left = [chunk for chunk in left if chunk[0] not in seen]
        # A worker died. Chunks are begun in order, so the file that killed it is in one of the first of those left.
        for chunk in left[:WORKERS]:
            seen.update(_singly(root, chunk))
        left = left[WORKERS:]
    return seen


def _together(
    root: Path, chunks: Sequence[list[str]], seen: dict[str, Seen], tick: Callable[[], None]
) -> None:
    """Look at chunks of files until all are done or a worker dies."""
    pool = process_pool(min(WORKERS, len(chunks)))
    try:
        futures = {pool.submit(look, root, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            seen.update(zip(futures[future], future.result(), strict=True))
            tick()
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
    sha256 = None
    try:
        file = locate(root, MediaRef(path))
        if file.is_file() and os.access(file, os.R_OK):
            sha256 = digest_of_file(file)
        facts = probe(file, LIMITS)
    except Missing as missing:
        return Seen(sha256, fault=(missing.reason, missing.detail))
    times = facts.frame_times
    seconds = (
        float(times[-1] - times[0]) * len(times) / (len(times) - 1) if len(times) > 1 else facts.duration
    )
    return Seen(sha256, seconds, video=times.size > 0, audio=facts.audio_rate is not None)


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
