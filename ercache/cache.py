"""The cache file: one feature of one part of a corpus, with any number of rows per utterance, in HDF5.

    <array>/values  [sum T, ...]   rows of all utterances, one after the other
    <array>/offsets [N + 1]        int64; utterance i owns values[offsets[i]:offsets[i + 1]]
    index           [N]            id, status, reason, frames, unit key and content digest of each utterance

A 512-byte user block at the beginning holds a magic and the sha256 of the rest. An utterance that is not `ok` owns no
rows: missing is a status, never a vector of zeros.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ercache.digests import canonical_json
from ercache.errors import CacheError

FORMAT_VERSION = 1
BLOCK = 512
MAGIC = b"ercache-features\n"
LAYOUT: dict[str, Any] = {"userblock_size": BLOCK, "libver": ("v110", "v110")}
Array = NDArray[Any]


class Status(StrEnum):
    """Status of an utterance: `ok` and `missing` are final, `unavailable` is tried again by the next run."""

    OK = "ok"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class ArraySpec:
    """A named array of a feature.

    Attributes:
        kind: `vector` has one row per utterance, `optional` one or none, `sequence` any number.
        axes: names of the axes of `values`; the first is the one whose length varies.
        shape: shape of one row.
        units: unit of the values.
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = "float32"
    units: str = "1"


@dataclass(frozen=True)
class Entry:
    """One row of the index: an utterance. An `ok` entry has arrays of shape [T, *spec.shape], others have none.

    Attributes:
        reason: why there is no feature, see `ercache.reasons`; "" if the entry is `ok`.
        frames: number of frames that the encoder read.
        key: digest of everything that decides the values.
        digest: sha256 of the arrays, see `content_digest`.
    """

    id: str
    status: Status
    reason: str = ""
    frames: int = 0
    key: str = ""
    digest: str = ""


def content_digest(arrays: Mapping[str, Array]) -> str:
    """sha256 (hex) over names, types, shapes and bytes of the arrays of one utterance."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


INDEX = np.dtype(
    [(name, h5py.string_dtype()) for name in ("id", "status", "reason", "key", "digest")] + [("frames", "i8")]
)


class CacheFile:
    """A cache file that is open for reading. Use it as a context manager.

    `cache[id]` gives the arrays of one utterance (array name -> [T, ...]), `read(array)` one array of all utterances.
    Opening checks the structure of the file; `verify_cache` also checks its digest.

    Attributes:
        provenance: how the feature was computed.
        entries: the index, in manifest order.
        row: id -> row of the index.
        specs: array name -> its spec.

    Raises:
        CacheError: the file is absent, damaged, of another format version, or not a cache file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_block(path)
        try:
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise CacheError(
                f"{path}: not readable as HDF5 ({error})", hint="extract the feature again"
            ) from error
        try:
            self._load()
        except (KeyError, ValueError, TypeError, OSError, RuntimeError, AttributeError, MemoryError) as error:
            self._file.close()
            raise CacheError(
                f"{path}: damaged cache file ({error})", hint="extract the feature again"
            ) from error
        except CacheError:
            self._file.close()
            raise

    def _load(self) -> None:
        version = self._file.attrs["format_version"]
        if version != FORMAT_VERSION:
            raise CacheError(
                f"{self.path}: format version {version}, but this ercache reads {FORMAT_VERSION}",
                hint="extract the feature again with this version",
            )
        self.provenance: dict[str, Any] = json.loads(self._file.attrs["provenance"])
        lacking = {"corpus", "part", "feature"} - set(self.provenance)
        if lacking:
            raise CacheError(f"{self.path}: its provenance lacks {', '.join(sorted(lacking))}")
        index = _plain_dataset(self._file, "index")
        if index.ndim != 1 or index.nbytes > os.path.getsize(self.path):
            raise CacheError(f"{self.path}: the shape of the index is impossible")
        rows = index[:]
        if rows.dtype.names != INDEX.names:
            raise CacheError(f"{self.path}: unknown columns in the index: {rows.dtype.names}")
        self.entries = tuple(_entry(row) for row in rows)
        self.row = {entry.id: i for i, entry in enumerate(self.entries)}
        if len(self.row) != len(self.entries):
            raise CacheError(f"{self.path}: an id occurs twice")
        self.specs = {name: self._spec(name) for name in self._file if name != "index"}
        self._offsets = {name: self._checked_offsets(name) for name in self.specs}
        self._values = {name: self._file[name]["values"] for name in self.specs}

    def _spec(self, name: str) -> ArraySpec:
        link = self._file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(self._file[name], h5py.Group):
            raise CacheError(f"{self.path}: {name!r} is not an array of a cache file")
        group = self._file[name]
        values = _plain_dataset(group, "values")
        axes = tuple(json.loads(group.attrs["axes"]))
        return ArraySpec(
            name, group.attrs["kind"], axes, values.shape[1:], values.dtype.name, group.attrs["units"]
        )

    def _checked_offsets(self, name: str) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = _plain_dataset(self._file[name], "offsets")[:]
        total = self._file[name]["values"].shape[0]
        length = np.diff(offsets)
        ok = np.array([entry.status == Status.OK for entry in self.entries], dtype=bool)
        good = offsets.shape == (len(self.entries) + 1,) and offsets[0] == 0 and offsets[-1] == total
        lacking = (length[ok] == 0).any() and self.specs[name].kind != "optional"
        if not good or (length < 0).any() or length[~ok].any() or lacking:
            raise CacheError(f"{self.path}: the offsets of {name!r} do not fit its values and index")
        return offsets

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in manifest order."""
        return tuple(entry.id for entry in self.entries)

    def __contains__(self, utterance: str) -> bool:
        return utterance in self.row

    def __getitem__(self, utterance: str) -> dict[str, Array]:
        """Arrays of one utterance, each [T, ...]; empty if it is not `ok`.

        Raises:
            KeyError: the id is unknown.
        """
        i = self.row[utterance]
        if self.entries[i].status != Status.OK:
            return {}
        return {name: self._values[name][o[i] : o[i + 1]] for name, o in self._offsets.items()}

    def lengths(self, utterance: str) -> dict[str, int]:
        """Number of rows of each array of one utterance; empty if it is not `ok`.

        Raises:
            KeyError: the id is unknown.
        """
        i = self.row[utterance]
        if self.entries[i].status != Status.OK:
            return {}
        return {name: int(o[i + 1] - o[i]) for name, o in self._offsets.items()}

    def read(self, array: str) -> tuple[Array, NDArray[np.int64]]:
        """All values [sum T, ...] and offsets [N + 1] of one array.

        Raises:
            CacheError: there is no such array.
        """
        if array not in self.specs:
            raise CacheError(f"{self.path}: no array {array!r} (there are: {', '.join(self.specs)})")
        return self._values[array][:], self._offsets[array]

    def coverage(self) -> dict[str, int]:
        """Number of utterances that are `ok`, and for every other status and reason."""
        count: dict[str, int] = {}
        for entry in self.entries:
            name = (
                entry.status.value if entry.status == Status.OK else f"{entry.status.value}: {entry.reason}"
            )
            count[name] = count.get(name, 0) + 1
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "CacheFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)


def _plain_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    link = group.get(name, getlink=True)
    data = group[name] if isinstance(link, h5py.HardLink) else None
    if (
        not isinstance(data, h5py.Dataset)
        or data.is_virtual
        or data.external
        or data.compression
        or data.chunks
    ):
        raise CacheError(f"{group.file.filename}: {name!r} is not a plain dataset")
    if data.nbytes > data.id.get_storage_size():  # HDF5 would return zeros for data that was never written
        raise CacheError(
            f"{group.file.filename}: {name!r} has shape {list(data.shape)}, more than the file holds"
        )
    return data


def _entry(row: Any) -> Entry:
    text = {name: row[name].decode() for name in ("id", "reason", "key", "digest")}
    return Entry(status=Status(row["status"].decode()), frames=int(row["frames"]), **text)


def _check_block(path: Path) -> bytes:
    if not path.is_file():
        raise CacheError(f"cache file not found: {path}", hint="create it with `ercache extract CORPUS`")
    with path.open("rb") as stream:
        block = stream.read(BLOCK)
    if len(block) < BLOCK or not block.startswith(MAGIC):
        raise CacheError(
            f"{path}: not a cache file of ercache", hint="create it with `ercache extract CORPUS`"
        )
    return block


def stated_digest(path: Path) -> str:
    """The sha256 (hex) in the user block of a cache file, not compared with the content.

    Raises:
        CacheError: the file is not a cache file.
    """
    return _check_block(path).removeprefix(MAGIC).rstrip(b"\0").decode("ascii", "replace")


def sealed_digest(path: Path) -> str:
    """The sha256 (hex) in the user block of a cache file, after comparing it with the content.

    Raises:
        CacheError: they differ, or the file is not a cache file.
    """
    block = _check_block(path)
    with path.open("rb") as stream:
        stream.seek(BLOCK)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if block != (MAGIC + digest.encode()).ljust(BLOCK, b"\0"):
        raise CacheError(
            f"{path}: the content differs from the sha256 in its user block", hint="extract the feature again"
        )
    return digest


def verify_cache(path: Path, ids: Sequence[str] | None = None) -> list[str]:
    """Check the digests of a cache file, and its ids.

    Args:
        ids: ids of the part in the manifest, in order, if known.

    Returns:
        One sentence per problem; empty if the file is good.
    """
    try:
        sealed_digest(path)
        with CacheFile(path) as cache:
            bad = [
                f"{entry.id}: content differs from its digest"
                for entry in cache.entries
                if entry.status == Status.OK and content_digest(cache[entry.id]) != entry.digest
            ]
            if ids is not None and list(ids) != list(cache.ids):
                bad.append("ids or their order differ from the manifest")
            return bad
    except CacheError as error:
        return [error.message]
