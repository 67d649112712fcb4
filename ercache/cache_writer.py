"""Write a cache file (see `ercache.cache`) atomically: readers see the complete file or no file.

Equal content gives equal bytes.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ercache.cache import BLOCK, FORMAT_VERSION, INDEX, LAYOUT, MAGIC, Array, ArraySpec, Entry, Status
from ercache.digests import canonical_json
from ercache.errors import CacheError
from ercache.files import atomic_file, reserve_space

WRITE_BUFFER = 1 << 20  # bytes; short arrays are joined into one write of this size


class Arrays(Protocol):
    """Type of the argument `arrays` of `write_cache`: a mapping from utterance id to the arrays of that utterance.

    It may be a dictionary, a `CacheFile`, or an object that loads the arrays only when they are requested.
    """

    def __getitem__(self, utterance: str, /) -> Mapping[str, Array]: ...


def write_cache(
    path: Path,
    specs: Sequence[ArraySpec],
    entries: Sequence[Entry],
    arrays: Arrays,
    provenance: Mapping[str, Any],
    lengths: Sequence[Mapping[str, int]] | None = None,
) -> None:
    """Write a cache file. Readers see the complete file or no file, and equal content gives equal bytes.

    Memory holds the arrays of one utterance at a time, plus at most `WRITE_BUFFER` bytes. HDF5's file locks are
    switched off for writing and for reading. Many network file systems lack locks, and a finished cache file never
    changes.

    Args:
        path: file to write.
        specs: name, shape and type of each array of the feature.
        entries: one entry per utterance, in manifest order.
        arrays: for each utterance with status `ok`, `arrays[id]` is a dictionary from array name to values [T, ...]
            with T rows. Each `arrays[id]` is read once if `lengths` is given, otherwise twice.
        provenance: how the feature was computed, as JSON values; no dates and no durations.
        lengths: number of rows of each array, one dictionary per entry; by default taken from the arrays.

    Raises:
        CacheError: an array does not fit its spec or its length, or an id occurs twice.
        WorkError: the disk is full.
    """
    ids = [entry.id for entry in entries]
    if len(set(ids)) != len(ids):
        raise CacheError(
            f"{path} is not written: two entries have the same id; give each utterance one entry"
        )
    ok = [entry.status == Status.OK for entry in entries]
    if lengths is None:
        lengths = [
            {name: len(array) for name, array in arrays[u].items()} if full else {}
            for u, full in zip(ids, ok, strict=True)
        ]
    offsets = {s.name: _offsets(s.name, ok, lengths) for s in specs}
    size = _size_bound(specs, entries, offsets, len(canonical_json(provenance).encode()))
    with atomic_file(path, size) as temporary:
        reserve_space(
            temporary, size
        )  # before HDF5 writes, because it crashes the process when the disk is full
        with h5py.File(temporary, "w", locking=False, **LAYOUT) as file:
            reserve_space(temporary, size)  # again, because HDF5 truncates the file when it opens it
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["provenance"] = canonical_json(provenance)
            targets = [_ArrayWriter(spec, _create(file, spec, offsets[spec.name])) for spec in specs]
            rows = np.empty(len(entries), dtype=INDEX)
            for i, e in enumerate(entries):
                rows[i] = (e.id, e.status.value, e.reason, e.key, e.digest, e.frames)
            file.create_dataset("index", data=rows, track_times=False)
            for utterance, full, length in zip(ids, ok, lengths, strict=True):
                given = arrays[utterance] if full else {}
                for target in targets if full else ():
                    target.add(utterance, given[target.spec.name], length[target.spec.name])
            for target in targets:
                target.flush()
            file.flush()
            os.truncate(temporary, file.id.get_filesize())  # give back the reserved bytes that were not used
        _seal(temporary)


def _size_bound(
    specs: Sequence[ArraySpec],
    entries: Sequence[Entry],
    offsets: Mapping[str, NDArray[np.int64]],
    provenance: int,
) -> int:
    """Compute a size in bytes that the cache file cannot exceed, to reserve disk space before writing.

    Strings count twice, because HDF5 stores them with gaps.
    """
    values = sum(
        int(offsets[s.name][-1]) * int(np.prod(s.shape, dtype=np.int64)) * np.dtype(s.dtype).itemsize
        for s in specs
    )
    texts = sum(len(f"{e.id}{e.reason}{e.key}{e.digest}".encode()) + 200 for e in entries)
    heads = 2**16 + 2 * provenance + sum(2**14 + 2 * len(str(spec)) for spec in specs)
    return values + 8 * (len(entries) + 1) * len(specs) + 2 * texts + heads + INDEX.itemsize * len(entries)


def _offsets(name: str, ok: Sequence[bool], lengths: Sequence[Mapping[str, int]]) -> NDArray[np.int64]:
    rows = [length[name] if full else 0 for full, length in zip(ok, lengths, strict=True)]
    return np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)


def _create(file: h5py.File, spec: ArraySpec, offsets: NDArray[np.int64]) -> h5py.Dataset:
    """Create the HDF5 datasets of one array. Disk space for the values is allocated, but the values are not written
    yet.
    """
    group = file.create_group(spec.name)
    group.attrs["kind"], group.attrs["units"] = spec.kind, spec.units
    group.attrs["axes"] = canonical_json(list(spec.axes))
    shape = (int(offsets[-1]), *spec.shape)
    values = group.create_dataset("values", shape=shape, dtype=spec.dtype, track_times=False)
    if values.size:
        # HDF5 places a dataset at its first write. Writing one row now makes the file independent of buffering.
        values[:1] = 0
    group.create_dataset("offsets", data=offsets, track_times=False)
    return values


class _ArrayWriter:
    """Writes the rows of one array into a cache file, one utterance after the other."""

    def __init__(self, spec: ArraySpec, values: h5py.Dataset) -> None:
        self.spec = spec
        self._values = values
        self._at = 0
        self._rows: list[Array] = []
        self._gathered = 0

    def add(self, utterance: str, rows: Array, length: int) -> None:
        spec = self.spec
        if rows.shape != (length, *spec.shape) or rows.dtype != np.dtype(spec.dtype):
            raise CacheError(f"array {spec.name} of {utterance!r} has type {rows.dtype} and shape {list(rows.shape)}, "
                             f"but {length} rows of {spec} are expected; correct the encoder")  # fmt: skip
        if spec.kind != "sequence" and length > 1:
            raise CacheError(
                f"array {spec.name} of {utterance!r} has {length} rows, but an array of kind {spec.kind} has at most "
                "one; give the array the kind sequence"
            )
        self._rows.append(rows)
        self._gathered += rows.nbytes
        if self._gathered >= WRITE_BUFFER:
            self.flush()

    def flush(self) -> None:
        rows = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows) if self._rows else ()
        if len(rows):
            self._values[self._at : self._at + len(rows)] = rows
        self._at += len(rows)
        self._rows.clear()
        self._gathered = 0


def _seal(path: Path) -> None:
    with path.open("r+b") as stream, ThreadPoolExecutor(1) as background:
        flushed = background.submit(os.fsync, stream.fileno())  # flush while the digest is computed
        stream.seek(BLOCK)
        digest = hashlib.file_digest(stream, "sha256").hexdigest().encode()
        flushed.result()
        stream.seek(0)
        stream.write((MAGIC + digest).ljust(BLOCK, b"\0"))
