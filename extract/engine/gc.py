"""Garbage of the store: records that no coming extraction would look for there.

A record is kept when a feature of params.yaml has its unit on a manifest at hand and the cache files of that feature
do not hold it yet. Everything else is garbage: packed units, units of old params or media, duplicates, damaged records.
A detection table is no unit of a feature, and its key cannot be planned (the times of a clip's frames are known when it
is decoded): all tables are kept as long as any feature that uses faces has units to be computed or packed, and are
garbage after that.

Only segments that nobody writes are touched, under their lock and one by one: the records to keep go to a new segment,
which appears whole, and then the old one goes. A kill between the two leaves duplicates, which the next gc frees.
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
from extract.engine.pack import finished
from extract.engine.plan import Feature, groups, make_plan
from extract.engine.records import unpack_record
from extract.engine.segment import HEAD, append, heads, lock, locks_work, payload_at, segments
from extract.media.types import Faces

_TABLE = {name.name for name in fields(Faces)}


@dataclass
class Need:
    """What the store must go on holding.

    Attributes:
        units: unit keys of features that are not in their cache files yet.
        packed: unit keys that are, in those of another feature perhaps; to tell people why a record is garbage.
        tables: whether detection tables are needed.
    """

    units: set[bytes] = field(default_factory=set)
    packed: set[bytes] = field(default_factory=set)
    tables: bool = False


@dataclass(frozen=True)
class Garbage:
    """What was found, or freed.

    Attributes:
        records: why (`packed`, `unneeded`, `duplicate`, `damaged`) -> records.
        bytes: what is freed on the disk, torn and unreadable stretches included.
        kept: records that stay.
        busy: segments left alone, because a run writes them now.
        foreign: segments left alone, because they are somebody else's.
    """

    records: dict[str, int]
    bytes: int
    kept: int
    busy: int
    foreign: int = 0


def need(manifests: Sequence[Manifest], features: Sequence[Feature], engine: EngineParams, out: Path) -> Need:
    """What an extraction of any of the features on any of the manifests would look for in the store.

    Args:
        out: folder of the caches; damaged files in it hold nothing.
    """
    found = Need()
    for manifest in manifests:
        for group in groups(features):
            plan = make_plan(manifest, manifest.utterances, group, engine)
            for feature in group:
                units = {
                    bytes.fromhex(k) for k in plan.keys[feature.name].values() if not isinstance(k, Reason)
                }
                packed = _packed(manifest, feature, out)
                found.units |= units - packed
                found.packed |= packed
                found.tables |= feature.faces is not None and bool(units - packed)
    return found


def _packed(manifest: Manifest, feature: Feature, out: Path) -> set[bytes]:
    units: set[bytes] = set()
    for part in manifest.parts:
        path = cache_path(out, manifest.corpus, feature.spec.modality, feature.name, part)
        if path.is_file() and not verify_cache(path):
            with CacheFile(path) as cache:
                units |= {bytes.fromhex(entry.key) for entry in finished(cache)}
    return units


def collect_garbage(
    folder: Path, needed: Need, free: bool = False, progress: Callable[[int, int], None] = lambda *_: None
) -> Garbage:
    """Look through the segments that nobody writes; free their garbage when told to.

    Args:
        folder: of the store.
        progress: called with the number of segments looked through, and of all.

    Raises:
        WorkError: another gc is at work, the file system has no locks, or the disk has no room for what a segment
            keeps; nothing is lost.
    """
    if not folder.is_dir():
        return Garbage({}, 0, 0, 0)
    with _alone(folder):
        found = segments(folder)
        paths = [path for path in found if _ours(path)]
        count: Counter[str] = Counter()
        seen: set[bytes] = set()
        judged: list[_Judged] = []
        for n, path in enumerate(paths):
            with _held(path) as stream:
                if stream is not None:
                    judged.append(_judge(path, stream, needed, seen, count))
            progress(n + 1, len(paths))
        if free:
            _sweep_leftovers(folder)
            # On a full disk the segments that need little room to be freed make room for the others.
            for segment in sorted(judged, key=lambda s: s.kept_bytes):
                _replace(segment)
    kept = sum(len(segment.keep) for segment in judged)
    freed = sum(segment.size - segment.kept_bytes for segment in judged)
    return Garbage(dict(count), freed, kept, len(paths) - len(judged), len(found) - len(paths))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One gc at a time: two would each free a duplicate because of the other's copy."""
    with full_disk_as_error(folder), _lock_file(folder / "gc.lock") as stream:
        if not locks_work(folder):
            raise WorkError(
                f"{folder}: its file system has no locks, so nothing tells which segments are being written",
                hint="set ERCACHE_STORE to a local disk; or, when nobody extracts, remove that folder: "
                "what is packed in cache files is safe there",
            )
        if not lock(stream.fileno()):
            raise WorkError(f"{folder}: another gc is at work", hint="wait until it is done")
        yield


def _lock_file(path: Path) -> BinaryIO:
    """The file that a gc locks; in a store of a group it may be somebody else's."""
    try:
        return path.open("ab")
    except PermissionError:
        return path.open("rb")


def _ours(segment: Path) -> bool:
    """Whether a segment can be changed and removed; in a folder like /tmp only its owner can."""
    try:
        owner, folder = segment.stat().st_uid, segment.parent.stat()
    except FileNotFoundError:
        return False
    keepers = (0, owner, folder.st_uid)
    return os.access(segment, os.W_OK) and (not folder.st_mode & stat.S_ISVTX or os.geteuid() in keepers)


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO | None]:
    """A segment under our lock; None when a run writes it."""
    with path.open("r+b") as stream:
        yield stream if lock(stream.fileno()) else None


@dataclass
class _Judged:
    """What a segment holds.

    Attributes:
        keep: offset and unit key of the records to keep.
        kept_bytes: what they take.
    """

    path: Path
    size: int
    keep: list[tuple[int, bytes]] = field(default_factory=list)
    kept_bytes: int = 0


def _judge(path: Path, stream: BinaryIO, needed: Need, seen: set[bytes], count: Counter[str]) -> _Judged:
    """Note what to keep. Duplicates count only within what is judged: a run may still lose what it writes."""
    segment = _Judged(path, os.fstat(stream.fileno()).st_size)
    for offset, key, length in heads(stream):
        why = _fault(stream, offset, key, needed) or ("duplicate" if key in seen else None)
        if why is not None:
            count[why] += 1
            continue
        seen.add(key)
        segment.keep.append((offset, key))
        segment.kept_bytes += HEAD.size + length
    return segment


def _fault(stream: BinaryIO, offset: int, key: bytes, needed: Need) -> str | None:
    """Why a record is garbage by itself; it is read only where its key does not tell."""
    useless = "packed" if key in needed.packed else "unneeded"
    if key not in needed.units and not needed.tables:
        return useless
    payload = payload_at(stream, offset, key)
    if payload is None:
        return "damaged"
    return None if key in needed.units or set(unpack_record(payload).arrays) >= _TABLE else useless


def _replace(segment: _Judged) -> None:
    """Put a segment of the records to keep in the place of the old one."""
    if segment.kept_bytes == segment.size:
        return
    with _held(segment.path) as stream:
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
    """Remove what a killed gc had not finished."""
    for leftover in folder.glob(".*.seg.*"):
        remove_leftovers(folder / leftover.stem.removeprefix("."))
