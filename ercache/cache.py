"""The cache file: one feature of all utterances in one part of a corpus (train, dev or test), stored in HDF5.

    <array>/values  [sum T, ...]   rows of all utterances, one utterance after the other
    <array>/offsets [N + 1]        int64; utterance i owns the rows values[offsets[i]:offsets[i + 1]]
    index           [N]            what is known about each utterance, see `Entry`

The file holds N utterances. Each may have any number T of rows. The first 512 bytes (HDF5's user block) hold a file
signature and the sha256 of all later bytes. An utterance without the feature has a status that says so, and no rows. A
missing feature is never stored as zeros.
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
    """Whether an utterance has a feature.

    `ok`: it has one. `missing`: it has none, and this is final. `unavailable`: it has none yet; the next run tries
    again.
    """

    OK = "ok"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class ArraySpec:
    """Name, shape and type of one array of a feature.

    Attributes:
        kind: number of rows per utterance. `vector` has exactly one, `optional` has one or none, `sequence` has any
            number.
        axes: names of the axes of `values`. The first axis counts the rows.
        shape: shape of one row.
        units: physical unit of the values; "1" for none.
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = "float32"
    units: str = "1"


@dataclass(frozen=True)
class Entry:
    """What the index of a cache file says about one utterance.

    If the status is `ok`, the utterance has arrays of shape [T, *ArraySpec.shape] with T rows. Otherwise it has none.

    Attributes:
        reason: why the utterance has no feature, one of `ercache.reasons`; "" if the status is `ok`.
        frames: number of frames that the encoder read.
        key: sha256 of everything that decides the values: the input, the encoder and the params of the encoder.
        digest: sha256 of the arrays, see `content_digest`.
    """

    id: str
    status: Status
    reason: str = ""
    frames: int = 0
    key: str = ""
    digest: str = ""


def content_digest(arrays: Mapping[str, Array]) -> str:
    """Compute the sha256 (hex) of the arrays of one utterance: their names, types, shapes and bytes."""
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
    """A cache file (one feature of one corpus part), open for reading. Use it as a context manager.

    `cache[id]` returns the arrays of one utterance. `cache.read(array)` returns one array of all utterances. Opening
    checks the structure of the file; `verify_cache` also compares the content with the stored digests.

    Attributes:
        provenance: how the feature was computed (encoder, params, weights, ...), as JSON values.
        entries: the index, one `Entry` per utterance, in manifest order.
        row: maps the id of an utterance to its position in `entries`.
        specs: maps the name of an array to its `ArraySpec`.

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
            raise CacheError(
                f"{self.path}: its provenance (how the feature was computed) lacks {', '.join(sorted(lacking))}; "
                "extract the feature again"
            )
        index = _plain_dataset(self._file, "index")
        if index.ndim != 1 or index.nbytes > os.path.getsize(self.path):
            raise CacheError(
                f"{self.path}: damaged index (its shape does not fit the file); extract the feature again"
            )
        rows = index[:]
        if rows.dtype.names != INDEX.names:
            raise CacheError(
                f"{self.path}: damaged index (unknown columns: {rows.dtype.names}); extract the feature again"
            )
        self.entries = tuple(_entry(row) for row in rows)
        self.row = {entry.id: i for i, entry in enumerate(self.entries)}
        if len(self.row) != len(self.entries):
            raise CacheError(f"{self.path}: damaged index (an id occurs twice); extract the feature again")
        self.specs = {name: self._spec(name) for name in self._file if name != "index"}
        self._offsets = {name: self._checked_offsets(name) for name in self.specs}
        self._values = {name: self._file[name]["values"] for name in self.specs}

    def _spec(self, name: str) -> ArraySpec:
        link = self._file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(self._file[name], h5py.Group):
            raise CacheError(
                f"{self.path}: damaged ({name!r} is not an array of a cache file); extract the feature again"
            )
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
            raise CacheError(
                f"{self.path}: damaged array {name!r} (wrong offsets); extract the feature again"
            )
        return offsets

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all utterances in the index of the file, with or without the feature, in manifest order."""
        return tuple(entry.id for entry in self.entries)

    def __contains__(self, utterance: str) -> bool:
        return utterance in self.row

    def __getitem__(self, utterance: str) -> dict[str, Array]:
        """Read the arrays of one utterance.

        Returns:
            A dictionary from array name to values [T, ...] with T rows. It is empty if the utterance has no feature.

        Raises:
            KeyError: the file has no utterance with this id.
        """
        i = self.row[utterance]
        if self.entries[i].status != Status.OK:
            return {}
        return {name: self._values[name][o[i] : o[i + 1]] for name, o in self._offsets.items()}

    def lengths(self, utterance: str) -> dict[str, int]:
        """Count the rows of one utterance in each array.

        Returns:
            A dictionary from array name to number of rows. It is empty if the utterance has no feature.

        Raises:
            KeyError: the file has no utterance with this id.
        """
        i = self.row[utterance]
        if self.entries[i].status != Status.OK:
            return {}
        return {name: int(o[i + 1] - o[i]) for name, o in self._offsets.items()}

    def read(self, array: str) -> tuple[Array, NDArray[np.int64]]:
        """Read one array of all utterances.

        Returns:
            Two arrays: the values [sum T, ...], in which the rows of all N utterances follow one another, and the
                offsets [N + 1]. Utterance i owns the rows values[offsets[i]:offsets[i + 1]].

        Raises:
            CacheError: the file has no array of this name.
        """
        if array not in self.specs:
            raise CacheError(f"{self.path}: no array {array!r}; name one of: {', '.join(self.specs)}")
        return self._values[array][:], self._offsets[array]

    def coverage(self) -> dict[str, int]:
        """Count the utterances by status: how many have the feature, and how many lack it for each reason.

        Returns:
            A dictionary from `ok`, or from status and reason such as `missing: no_face`, to number of utterances.
        """
        count: dict[str, int] = {}
        for entry in self.entries:
            name = (
                entry.status.value if entry.status == Status.OK else f"{entry.status.value}: {entry.reason}"
            )
            count[name] = count.get(name, 0) + 1
        return count

    def close(self) -> None:
        """Close the HDF5 file. Afterwards, no array can be read."""
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
        raise CacheError(
            f"{group.file.filename}: damaged ({name!r} is not a plain HDF5 dataset); extract the feature again"
        )
    if data.nbytes > data.id.get_storage_size():  # HDF5 would return zeros for data that was never written
        raise CacheError(
            f"{group.file.filename}: damaged (array {name!r} states the shape {list(data.shape)}, but the file holds "
            "fewer values); extract the feature again"
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
    """Read the sha256 (hex) that a cache file stores about itself. It is not compared with the content.

    Raises:
        CacheError: the file is not a cache file.
    """
    return _check_block(path).removeprefix(MAGIC).rstrip(b"\0").decode("ascii", "replace")


def sealed_digest(path: Path) -> str:
    """Read the sha256 (hex) that a cache file stores about itself, and check it against the content.

    Raises:
        CacheError: the digest and the content differ, or the file is not a cache file.
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
    """Check a cache file against the digests in it: the sha256 of the whole file, and the sha256 of each utterance.

    Args:
        ids: ids of the utterances that the file should have, in manifest order. If None, the ids are not checked.

    Returns:
        A list with one sentence per problem; empty if the file is good.
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
