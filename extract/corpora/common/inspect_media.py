"""Compute the digest (sha256) and the basic facts (streams, durations, faults) of every media file of a corpus.

Worker processes on all cores read the files, because a bad file may crash the process that reads it. Facts of files
that have not changed since an earlier scan come from the scan cache.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
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
from extract.corpora.common.entry import ScanProgress
from extract.corpora.common.scan_cache import FileStamp, ScanCache, file_stamp
from extract.media.container import missing_from_error
from extract.media.files import locate
from extract.media.probe import probe

CHUNK: Final = 16
LIMITS: Final = Limits(seconds=30)
# Raise the number when an inspection of the same file gives other facts.
VERSION: Final = f"2 av{av.__version__}"


@dataclass(frozen=True)
class MediaFacts:
    """Basic facts about a media file.

    Attributes:
        sha256: digest of the file; None if there is no readable file.
        pictures_end: when the pictures end, seconds from the start of the file; None without pictures.
        sound_end: when the sound ends, seconds from the start of the file; None without sound.
        video: whether the file has pictures.
        audio: whether the file has sound.
        fault: why the file is unusable: the reason, and details such as a library's error message. None if the file
            is usable.
    """

    sha256: str | None
    pictures_end: float | None = None
    sound_end: float | None = None
    video: bool = False
    audio: bool = False
    fault: tuple[Reason, str] | None = None

    @property
    def seconds(self) -> float | None:
        """Duration of the recording in seconds: that of the pictures, or that of the sound if there are no pictures."""
        return self.sound_end if self.pictures_end is None else self.pictures_end


def inspect_media(
    root: Path, paths: Iterable[str], progress: ScanProgress | None = None
) -> dict[str, MediaFacts]:
    """Compute the basic facts (digest, streams, durations, faults) of media files in several worker processes.

    Args:
        root: folder of the corpus.
        paths: paths of the files, relative to `root`.
        progress: called with (files done, files in total); files known from the scan cache count as done.

    Returns:
        Path -> media facts.

    Raises:
        WorkError: no worker process can be started.
    """
    wanted = sorted(set(paths))
    tick = progress or (lambda done, of: None)
    with ScanCache(VERSION) as scan_cache:
        media_facts, stamps = _facts_without_process(root, wanted, scan_cache)
        left = sorted(set(wanted) - set(media_facts))

        def on_found(results: Mapping[str, MediaFacts]) -> None:
            media_facts.update(results)
            for path, file_facts in results.items():
                if path in stamps and _is_final(file_facts):
                    scan_cache.put(stamps[path], _to_json(file_facts))
            tick(len(media_facts), len(wanted))

        on_found({})
        _inspect_all(root, [left[i : i + CHUNK] for i in range(0, len(left), CHUNK)], on_found)
    return media_facts


def _facts_without_process(
    root: Path, paths: Sequence[str], scan_cache: ScanCache
) -> tuple[dict[str, MediaFacts], dict[str, FileStamp]]:
    """Return the media facts of the files that no worker process must read: files in the scan cache, absent or empty.

    Returns:
        Two dicts. The first one maps the path of each of these files to its media facts. The second one maps the path
        of every file that is present and not empty to its stamp (size, times, inode), which the scan cache needs.
    """
    media_facts: dict[str, MediaFacts] = {}
    stamps: dict[str, FileStamp] = {}
    for path in paths:
        try:
            stamp = file_stamp(locate(root, MediaRef(path)))
        except Missing as missing:
            media_facts[path] = MediaFacts(None, fault=(missing.reason, missing.detail))
            continue
        if stamp is None:  # no regular file, or an empty one: no decoder will read it
            media_facts[path] = _inspect_file(root, path)
            continue
        stamps[path] = stamp
        text = scan_cache.get(stamp)
        if text is not None:
            media_facts[path] = _from_json(text)
    return media_facts, stamps


def _is_final(file_facts: MediaFacts) -> bool:
    return file_facts.sha256 is not None and (
        file_facts.fault is None or file_facts.fault[0].status is Status.MISSING
    )


def _to_json(file_facts: MediaFacts) -> str:
    return json.dumps(
        [
            file_facts.sha256,
            file_facts.pictures_end,
            file_facts.sound_end,
            file_facts.video,
            file_facts.audio,
            file_facts.fault,
        ]
    )


def _from_json(text: str) -> MediaFacts:
    sha256, pictures_end, sound_end, video, audio, fault = json.loads(text)
    return MediaFacts(sha256, pictures_end, sound_end, video, audio, fault and (Reason(fault[0]), fault[1]))


OnFound = Callable[[Mapping[str, MediaFacts]], None]
# How the worker processes are started; tests inspect files in their own process instead.
open_pool: Callable[[int], Executor] = process_pool


def _inspect_all(root: Path, left: list[list[str]], on_found: OnFound) -> None:
    """Compute the media facts of many files, with one worker process per CPU core.

    A bad file may kill the process that reads it. Then the files that were being read are inspected one by one.

    Args:
        root: folder of the corpus.
        left: groups of file paths; a process reads one group at a time.
        on_found: called with path -> media facts, for each finished group.
    """
    workers = cores()
    while left:
        done: set[str] = set()

        def tell(results: Mapping[str, MediaFacts], done: set[str] = done) -> None:
            done.update(results)
            on_found(results)

        _inspect_in_pool(root, left, workers, tell)
        left = [chunk for chunk in left if chunk[0] not in done]
        # A worker died. Chunks start in order, so the guilty file is in one of the first remaining chunks.
        for chunk in left[:workers]:
            on_found(_inspect_singly(root, chunk))
        left = left[workers:]


def _inspect_in_pool(root: Path, chunks: Sequence[list[str]], workers: int, on_found: OnFound) -> None:
    """Compute the media facts of groups of files in worker processes, until all are done or one process dies.

    `on_found` is called with path -> media facts for each finished group.
    """
    pool = open_pool(min(workers, len(chunks)))
    try:
        futures = {pool.submit(inspect_files, root, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            on_found(dict(zip(futures[future], future.result(), strict=True)))
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def inspect_files(root: Path, paths: Sequence[str]) -> list[MediaFacts]:
    """Read files one after the other and return a list of their media facts, in the order of `paths`."""
    return [_inspect_file(root, path) for path in paths]


def problems_of_media(
    utterance: str, ref: MediaRef | None, media_facts: MediaFacts | None, *media: str
) -> list[Problem]:
    """Return why an utterance cannot use its media file: the file is faulty, or a stream that it needs is missing.

    Args:
        utterance: id of the utterance.
        ref: reference to the media file; None gives no problem.
        media_facts: facts about the file; None gives no problem.
        media: streams that the utterance needs: `video`, `audio` or both.
    """
    if ref is None or media_facts is None:
        return []
    if media_facts.fault is not None:
        reason, words = media_facts.fault
        return [Problem(utterance, reason.status.value, reason.value, _detail(ref, words))]
    is_missing = {"video": not media_facts.video, "audio": not media_facts.audio}
    return [
        Problem(utterance, reason.status.value, reason.value, ref.path)
        for medium, reason in (("video", Reason.NO_VIDEO), ("audio", Reason.NO_AUDIO))
        if medium in media and is_missing[medium]
    ]


def _detail(ref: MediaRef, words: str) -> str:
    return ref.path if not words or words in ref.path else f"{ref.path}: {words}"


def _inspect_file(root: Path, path: str) -> MediaFacts:
    """Return the media facts of one file. Any error while it is read becomes the `fault` in these facts."""
    sha256 = None
    try:
        file = locate(root, MediaRef(path))
        if file.is_file() and os.access(file, os.R_OK):
            sha256 = digest_of_file(file)
        facts = probe(file, LIMITS)
    except Missing as missing:
        return MediaFacts(sha256, fault=(missing.reason, missing.detail))
    except Exception as error:
        fault = missing_from_error(error)
        return MediaFacts(sha256, fault=(fault.reason, fault.detail))
    pictures = facts.pictures_end
    return MediaFacts(sha256, pictures, facts.sound_end, pictures is not None, facts.audio_rate is not None)


def _inspect_singly(root: Path, paths: Sequence[str]) -> dict[str, MediaFacts]:
    """Inspect files one by one in a separate process, to find the file that kills the process that reads it.

    Returns:
        Path -> media facts. A file that kills its process gets the fault CRASH.

    Raises:
        WorkError: no process can be started at all, so the files are not the cause.
    """
    media_facts: dict[str, MediaFacts] = {}
    pool = process_pool(1)
    for path in paths:
        try:
            media_facts[path] = pool.submit(inspect_files, root, [path]).result()[0]
        except BrokenProcessPool as error:
            digest = digest_of_file(locate(root, MediaRef(path)))
            media_facts[path] = MediaFacts(
                digest, fault=(Reason.CRASH, "the process that read this file died")
            )
            pool = process_pool(1)
            if pool.submit(abs, 0).exception() is not None:
                message = "the processes that inspect media files do not start"
                raise WorkError(
                    message,
                    hint="to scan from Python, use a script file and call under `if __name__ == '__main__'`",
                ) from error
    pool.shutdown(wait=True, cancel_futures=True)
    return media_facts
