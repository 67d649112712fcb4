"""Read computational sequences of the CMU-MultimodalSDK (.csd files, HDF5).

Layout: each video `<root>/data/<video>` has two tables. `features` [n, d] has n rows of d numbers, and `intervals`
[n, 2] has the start and end of each row. A sequence of a whole video is divided by the times of the utterances in the
manifest: a row belongs to every utterance that the row's interval overlaps, as in the alignment of the SDK. Entries
`video[k]` hold one segment of a video. They are matched with utterances by time, too, because k counts the rows of a
label file and does not identify a clip.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import ARRAY, FileContent, FoundFeature, first_few, modality_of
from ercache.formats.hdf5 import check_chunks, check_dataset, own_dataset, read_dataset
from ercache.formats.ids import IdMatcher
from ercache.formats.numbers import NUMBERS
from ercache.formats.timed import LABELS, Times, best_overlap, by_video, manifest_times, no_times
from ercache.manifest import Manifest

_HINT: Final = "check that it is a complete .csd file of the CMU-MultimodalSDK"


def read_csd(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a .csd file. Only its structure is read now; the values are read later, one utterance at a time.

    Args:
        modality: modality of the features; if "", it is derived from the names in the file.

    Raises:
        UsageError: the file has another layout or holds words instead of vectors, the modality cannot be derived, or
            the start and end of the utterances are not known.
    """
    name, data = _open(path)
    modality = modality_of(f"{name} {path.stem}", modality)
    for key in data:
        if _dataset(data, key, "features", path).dtype.kind not in NUMBERS:
            raise UsageError(
                f"{path}: the sequence {name!r} holds texts, not feature vectors",
                hint="import a file of vectors instead",
            )
    ids = IdMatcher(manifest)
    notes: list[str] = []
    whole = {known: key for key in data if (known := ids.of(key)) is not None}
    rows: dict[str, tuple[str, slice | Array | None]] = {u: (key, None) for u, key in whole.items()}
    others = [key for key in data if key not in set(whole.values())]
    if others:
        videos = by_video(utterance_times(path, manifest), ids)
        unknown = []
        for key in others:
            intervals = _intervals(data, key, path)
            video, segment = _video(key)
            mine = videos.get(video, {})
            taken = _segment(key, intervals, mine) if segment else _overlaps(key, intervals, mine)
            rows |= {u: place for u, place in taken.items() if u not in rows}
            if not taken:
                unknown.append(key)
        if unknown:
            notes.append(
                f"{len(unknown)} of its entries overlap no utterance of the manifest: {first_few(unknown)}"
            )
    notes.append("intervals were not imported: they only say which rows belong to which utterance")
    found = FoundFeature(_plain(name), modality, tuple(rows), partial(_read, data, rows, set()))
    return FileContent((found,), tuple(notes), {"root": name}, _plain(name))


def _plain(name: str) -> str:
    return name.removeprefix("CMU_MOSEI_").replace(" ", "_")


def _open(path: Path) -> tuple[str, h5py.Group]:
    try:
        file = h5py.File(path, "r", locking=False)
        roots = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        data = file[roots[0]]["data"] if len(roots) == 1 else None
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path}: not readable as a computational sequence ({error})", hint=_HINT) from error
    if not isinstance(data, h5py.Group):
        raise UsageError(
            f"{path}: not a computational sequence, which is one top-level HDF5 group with a group `data` in it",
            hint=_HINT,
        )
    return roots[0], data


def _dataset(data: h5py.Group, key: str, name: str, path: Path) -> h5py.Dataset:
    group = data[key] if isinstance(data.get(key, getlink=True), h5py.HardLink) else None
    found = own_dataset(group, name) if isinstance(group, h5py.Group) else None
    if found is None or found.ndim != 2:
        raise UsageError(f"{path}: the entry {key!r} has no table {name!r} with two dimensions", hint=_HINT)
    if found.dtype.kind in NUMBERS:
        check_dataset(found, f"{path}: {name} of {key}")
    return found


def _intervals(data: h5py.Group, key: str, path: Path) -> Array:
    """Read the table `intervals` of a video: start and end of each of the n rows, in seconds, [n, 2]."""
    found = _dataset(data, key, "intervals", path)
    if found.shape[1] != 2 or found.dtype.kind != "f":
        raise UsageError(
            f"{path}: the intervals of entry {key!r} are not pairs of start and end seconds", hint=_HINT
        )
    return read_dataset(found, f"{path}: intervals of {key}")


def utterance_times(path: Path, manifest: Manifest) -> Times:
    """Find the start and end of each utterance in its video, in seconds.

    The times come from the manifest. If the manifest has none, they come from the SDK's label file
    `CMU_MOSEI_Labels.csd` in the folder of `path`.

    Returns:
        A dictionary from utterance id to start and end.

    Raises:
        UsageError: neither the manifest nor a label file has times.
    """
    times = manifest_times(manifest)
    beside = path.with_name(LABELS)
    if not times and beside.is_file() and beside != path:
        known = {u.id for u in manifest.utterances}
        _, data = _open(beside)
        for video in data:
            for k, (start, end) in enumerate(_intervals(data, video, beside).tolist()):
                if f"{video}[{k}]" in known:
                    times[f"{video}[{k}]"] = (start, end)
    if not times:
        raise no_times(path, manifest)
    return times


def _video(key: str) -> tuple[str, bool]:
    """Split the name of an entry in a .csd file, which is `video` for a whole video, or `video[k]` for its segment k.

    Returns:
        Two values: the name of the video, and whether the entry is a segment.
    """
    head, bracket, tail = key.rpartition("[")
    segment = bool(bracket) and tail.endswith("]") and tail[:-1].isdigit()
    return (head, True) if segment else (key, False)


def _overlaps(key: str, intervals: Array, times: Times) -> dict[str, tuple[str, slice | Array | None]]:
    found: dict[str, tuple[str, slice | Array | None]] = {}
    for utterance, (start, end) in times.items():
        inside = np.flatnonzero((intervals[:, 0] < end) & (intervals[:, 1] > start))
        if len(inside):
            dense = inside[-1] - inside[0] + 1 == len(inside)
            found[utterance] = (key, slice(int(inside[0]), int(inside[-1]) + 1) if dense else inside)
    return found


def _segment(key: str, intervals: Array, times: Times) -> dict[str, tuple[str, slice | Array | None]]:
    if not len(intervals):
        return {}
    found = best_overlap(float(intervals[:, 0].min()), float(intervals[:, 1].max()), times)
    return {} if found is None else {found: (key, None)}


def _read(
    data: h5py.Group,
    rows: Mapping[str, tuple[str, slice | Array | None]],
    checked: set[str],
    utterance: str,
) -> Mapping[str, Array]:
    key, place = rows[utterance]
    values: Any = data[key]["features"]
    where = f"{data.file.filename}: features of {key}"
    try:
        if key not in checked:
            check_chunks(values, where)
            checked.add(key)
        return {ARRAY: values[:] if place is None else values[place]}
    except OSError as error:
        raise UsageError(f"{where} not readable ({error})", hint=_HINT) from error
