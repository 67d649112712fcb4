"""Garbage collection in the store of finished results: remove records that no future extraction would look for.

A record is one feature of one utterance, or the face detections in one picture. It is kept if a feature of params.yaml
needs it for a manifest of the project, and no cache file contains it yet. All other records are garbage: records that
are already in cache files, records of old params or media, duplicates and damaged records.

Face detections are a special case. Their keys contain the times of frames, which are known only after decoding. So the
needed detections cannot be listed here: all of them are kept until every feature that uses faces is in cache files.

The store consists of segment files. Only segments that no run is writing are changed, under a lock and one by one. The
records to keep are written to a new segment, which appears only when it is complete. Then the old segment is removed.
If the process is killed between these two steps, duplicates remain, and the next garbage collection removes them.
"""

import os
import stat
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

from ercache.cache import CacheFile, verify_cache
from ercache.errors import WorkError
from ercache.files import atomic_file, flush_folder, full_disk_as_error, remove_leftovers
from ercache.manifest import Manifest
from ercache.params.schema import EngineParams
from ercache.reasons import Reason
from extract.engine.extraction import cache_path
from extract.engine.pack import finished_entries
from extract.engine.plan import Feature, group_features, make_plan
from extract.engine.records import unpack_record
from extract.engine.segment import HEAD, append, locks_work, payload_at, record_heads, segments, try_lock
from extract.media.types import Faces

_FACE_TABLE_ARRAYS = {name.name for name in fields(Faces)}


@dataclass
class NeededRecords:
    """Says which records the store must keep for the next extraction.

    Attributes:
        units: keys of the results (one feature of one input) that are needed and not in a cache file yet.
        packed: keys of the results that are already in a cache file. Their records in the store are garbage.
        tables: whether face detections are still needed (some of them may be; then all are kept).
    """

    units: set[bytes] = field(default_factory=set)
    packed: set[bytes] = field(default_factory=set)
    tables: bool = False


@dataclass(frozen=True)
class Garbage:
    """The result of a garbage collection.

    Attributes:
        records: reason -> number of garbage records. The reason is `packed` (a cache file contains the result),
            `unneeded` (no feature of params.yaml needs it), `duplicate` (the store keeps another copy) or `damaged`.
        bytes: disk space that the garbage takes, including incomplete records.
        kept: number of records that stay.
        busy: number of segment files skipped because a run is writing them.
        foreign: number of segment files skipped because they belong to another user.
    """

    records: dict[str, int]
    bytes: int
    kept: int
    busy: int
    foreign: int = 0


def packed_units(manifest: Manifest, feature: Feature, out: Path) -> set[bytes]:
    """Return the keys of all final results that the cache files of a feature contain; a damaged file counts as empty.

    Args:
        manifest: manifest of the corpus.
        feature: the feature.
        out: folder of the caches.
    """
    units: set[bytes] = set()
    for part in manifest.parts:
        path = cache_path(out, manifest.corpus, feature.spec.modality, feature.name, part)
        if path.is_file() and not verify_cache(path):
            with CacheFile(path) as cache:
                units |= {bytes.fromhex(entry.key) for entry in finished_entries(cache)}
    return units


def needed_records(
    manifests: Sequence[Manifest],
    features: Sequence[Feature],
    engine: EngineParams,
    out: Path,
    find_packed: Callable[[Manifest, Feature, Path], set[bytes]] = packed_units,
) -> NeededRecords:
    """Find out which results in the store the next extraction needs, and which are already in cache files.

    Args:
        manifests: manifests of the project.
        features: features of params.yaml.
        engine: engine parameters of params.yaml.
        out: folder of the caches; damaged cache files in it count as empty.
        find_packed: function that returns the keys of the results in the cache files of a feature.
    """
    found = NeededRecords()
    for manifest in manifests:
        for group in group_features(features):
            plan = make_plan(manifest, manifest.utterances, group, engine)
            for feature in group:
                units = {
                    bytes.fromhex(k) for k in plan.keys[feature.name].values() if not isinstance(k, Reason)
                }
                packed = find_packed(manifest, feature, out)
                found.units |= units - packed
                found.packed |= packed
                found.tables |= feature.faces is not None and bool(units - packed)
    return found


def collect_garbage(
    folder: Path,
    needed: NeededRecords,
    free: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Garbage:
    """Count the garbage in all segment files that no run is writing, and remove it if `free` is set.

    Args:
        folder: folder of the store.
        needed: the records to keep.
        free: remove the garbage; otherwise only count it.
        progress: function that is called with (segments examined, segments in total).

    Raises:
        WorkError: another garbage collection is running, the file system has no locks, or the disk is too full to
            rewrite the records to keep. In all three cases, every needed record is still there.
    """
    if not folder.is_dir():
        return Garbage({}, 0, 0, 0)
    with as_only_collection(folder):
        found = segments(folder)
        paths = [path for path in found if _may_remove(path)]
        count: Counter[str] = Counter()
        kept_keys: set[bytes] = set()
        examined: list[_ExaminedSegment] = []
        for n, path in enumerate(paths):
            with _locked(path) as stream:
                if stream is not None:
                    examined.append(_examine(path, stream, needed, kept_keys, count))
            progress(n + 1, len(paths))
        if free:
            _sweep_leftovers(folder)
            # On a full disk, first rewrite the segments that keep little: they make room for the others.
            for segment in sorted(examined, key=lambda s: s.kept_bytes):
                _rewrite(segment)
    kept = sum(len(segment.keep) for segment in examined)
    freed = sum(segment.size - segment.kept_bytes for segment in examined)
    return Garbage(dict(count), freed, kept, len(paths) - len(examined), len(found) - len(paths))


@contextmanager
def as_only_collection(folder: Path) -> Iterator[None]:
    """Context manager for a garbage collection: it holds a lock, so that only one collection runs at a time.

    Two collections could each remove one copy of a duplicate record, and so lose the record.

    Args:
        folder: folder of the store.

    Raises:
        WorkError: another garbage collection is running, or the file system has no locks.
    """
    with full_disk_as_error(folder), _lock_file(folder / "gc.lock") as stream:
        if not locks_work(folder):
            raise WorkError(
                f"{folder}: this file system has no locks, so it is unknown which files a run is writing",
                hint="to free space, delete this folder when no extraction is running (features in cache files are "
                "safe); or set the environment variable ERCACHE_STORE to a folder on a local disk",
            )
        if not try_lock(stream.fileno()):
            raise WorkError(
                f"{folder}: another garbage collection is running",
                hint="wait until it has finished, then run again",
            )
        yield


def _lock_file(path: Path) -> BinaryIO:
    """Open the file that a garbage collection locks; create it if it is absent.

    In a store that several users share, the file may belong to another user. Then it is opened for reading only, which
    is enough to lock it.
    """
    try:
        return path.open("ab")
    except PermissionError:
        return path.open("rb")


def _may_remove(segment: Path) -> bool:
    """Return whether this user may change and remove a segment file.

    In a folder with the sticky bit, such as /tmp, only the owner of the file or of the folder, and root, may do this.
    """
    try:
        owner, folder = segment.stat().st_uid, segment.parent.stat()
    except FileNotFoundError:
        return False
    keepers = (0, owner, folder.st_uid)
    return os.access(segment, os.W_OK) and (not folder.st_mode & stat.S_ISVTX or os.geteuid() in keepers)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """Context manager that locks a segment file of the store.

    Yields:
        The open file; None if a run is writing it, so that it cannot be locked.
    """
    with path.open("r+b") as stream:
        yield stream if try_lock(stream.fileno()) else None


@dataclass
class _ExaminedSegment:
    """A segment file of the store, and which of its records to keep.

    Attributes:
        path: path of the segment file.
        size: size of the file, bytes.
        keep: (offset in the file, key) of each record to keep.
        kept_bytes: total size of the records to keep, bytes.
    """

    path: Path
    size: int
    keep: list[tuple[int, bytes]] = field(default_factory=list)
    kept_bytes: int = 0


def _examine(
    path: Path, stream: BinaryIO, needed: NeededRecords, kept_keys: set[bytes], count: Counter[str]
) -> _ExaminedSegment:
    """Decide which records of a segment file to keep. Of several copies of a record, one is kept.

    Args:
        path: path of the segment file.
        stream: the open, locked file.
        needed: the records that the store must keep.
        kept_keys: keys of the records kept so far, in all files; the keys kept here are added.
        count: reason -> number of garbage records so far; the garbage found here is added.
    """
    segment = _ExaminedSegment(path, os.fstat(stream.fileno()).st_size)
    for offset, key, length in record_heads(stream):
        why = _why_garbage(stream, offset, key, needed) or ("duplicate" if key in kept_keys else None)
        if why is not None:
            count[why] += 1
            continue
        kept_keys.add(key)
        segment.keep.append((offset, key))
        segment.kept_bytes += HEAD.size + length
    return segment


def _why_garbage(stream: BinaryIO, offset: int, key: bytes, needed: NeededRecords) -> str | None:
    """Return why a record is garbage, or None if it must be kept.

    `packed`: a cache file contains the result. `unneeded`: no feature of params.yaml needs it. `damaged`: its checksum
    is wrong. Where the key alone decides, the record's content is not read.

    Args:
        stream: the open segment file.
        offset: byte position of the record in the file.
        key: key of the record.
        needed: the records that the store must keep.
    """
    useless = "packed" if key in needed.packed else "unneeded"
    if key not in needed.units and not needed.tables:
        return useless
    payload = payload_at(stream, offset, key)
    if payload is None:
        return "damaged"
    return (
        None if key in needed.units or set(unpack_record(payload).arrays) >= _FACE_TABLE_ARRAYS else useless
    )


def _rewrite(segment: _ExaminedSegment) -> None:
    """Replace a segment file by a new one that holds only the records to keep; if there are none, only remove it."""
    if segment.kept_bytes == segment.size:
        return
    with _locked(segment.path) as stream:
        if stream is None:
            return
        if segment.keep:
            successor = segment.path.with_name(f"{uuid.uuid4().hex}.seg")
            with (
                atomic_file(successor, segment.kept_bytes) as temporary,
                temporary.open("wb", buffering=0) as out,
            ):
                for offset, key in segment.keep:
                    payload = payload_at(stream, offset, key)
                    if payload is not None:
                        append(out.fileno(), key, payload)
        segment.path.unlink()
    flush_folder(segment.path.parent)


def _sweep_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed garbage collection left behind."""
    for leftover in folder.glob(".*.seg.*"):
        remove_leftovers(folder / leftover.stem.removeprefix("."))
