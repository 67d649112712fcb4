"""Read features from lhotse's manifests of cuts or features (JSON Lines, also gzipped).

The features are matrices in numpy or HDF5 files beside the lhotse manifest. The id of a supervision, a cut or a
recording names the utterance. Matrices in lilcom's compression are refused, because this compression loses precision;
lhotse itself can rewrite them (`cuts.copy_feats`).
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py

from ercache.archives import ALWAYS_ALLOWED, MAX_RATIO
from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import ARRAY, FileContent, FoundFeature, first_few
from ercache.formats.hdf5 import check_dataset, own_dataset, read_dataset
from ercache.formats.ids import IdMatcher
from ercache.formats.npy import read_npy
from ercache.manifest import MODALITIES, Manifest

_LINE: Final = 1 << 24  # longest line in bytes; a cut with its supervisions has a few thousand
_FORM: Final = "give lhotse's .jsonl or .jsonl.gz"
_STORES: Final = ("numpy_files", "numpy_hdf5")


def read_lhotse(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a lhotse manifest of cuts or features. The matrices are read later, one at a time.

    Args:
        modality: modality of the features; "" means audio.

    Raises:
        UsageError: the file has another format, or its matrices are stored in an unsupported way.
    """
    modality = modality or "audio"
    if modality not in MODALITIES:
        raise UsageError(f"unknown modality {modality!r}", hint=f"give one of {', '.join(MODALITIES)}")
    ids = IdMatcher(manifest)
    stored: dict[str, Mapping[str, Any]] = {}
    unknown: list[str] = []
    bare = 0
    for number, item in enumerate(_lines(path), start=1):
        features = item.get("features") if "features" in item or "supervisions" in item else item
        if not isinstance(features, dict) or "storage_type" not in features:
            bare += 1
            continue
        names = [s.get("id") for s in item.get("supervisions") or () if isinstance(s, dict)]
        names += [item.get("id"), features.get("recording_id")]
        utterance = next((known for name in names if name and (known := ids.of(name))), None)
        if utterance is None:
            unknown.append(str(next((name for name in names if name), f"line {number}")))
        elif utterance in stored:
            hint = "one cut per utterance is needed: `cuts.trim_to_supervisions()`"
            raise UsageError(f"{path}, line {number}: a second entry for utterance {utterance}", hint=hint)
        else:
            _check_store(features, f"{path}, line {number}")
            stored[utterance] = {**features, "piece": _piece(item, features)}
    notes = (
        [f"{len(unknown)} of its entries belong to no utterance of the manifest: {first_few(unknown)}"]
        if unknown
        else []
    )
    notes += [f"{bare} of its lines name no features"] if bare else []
    notes.append("frame shift, rate and supervisions were not imported")
    kinds = sorted({str(f.get("type") or "features") for f in stored.values()})
    name = "_".join(kinds) or "features"
    found = FoundFeature(name, modality, tuple(stored), partial(_read, stored, path.parent))
    claims = {
        "type": kinds,
        "frame_shift": sorted({float(f.get("frame_shift") or 0) for f in stored.values()}),
    }
    return FileContent((found,), tuple(notes), claims)


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    number, read, most = 0, 0, max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            while line := stream.readline(_LINE + 1):
                number += 1
                read += len(line)
                if read > most:
                    raise UsageError(
                        f"{path}: the file unpacks to more than {most:,} bytes, so it is not a manifest of lhotse",
                        hint=_FORM,
                    )
                if len(line) > _LINE:
                    raise UsageError(
                        f"{path}, line {number}: more than {_LINE} bytes, so the file is not a manifest of lhotse",
                        hint=_FORM,
                    )
                item = json.loads(line) if line.strip() else None
                if item is not None and not isinstance(item, dict):
                    raise UsageError(f"{path}, line {number}: not a manifest of lhotse", hint=_FORM)
                if item:
                    yield item
    except (ValueError, EOFError, OSError, RecursionError) as error:
        message = f"{path}, after line {number}: not readable as JSON lines ({error})"
        raise UsageError(message, hint=_FORM) from error


def _check_store(features: Mapping[str, Any], where: str) -> None:
    store = str(features["storage_type"])
    lacking = [key for key in ("storage_path", "storage_key") if not isinstance(features.get(key), str)]
    if lacking:
        raise UsageError(
            f"{where}: the entry has no {' and no '.join(lacking)}", hint="give cuts with computed features"
        )
    if store not in _STORES:
        raise UsageError(
            f"{where}: features in the lhotse storage {store!r} are not supported, only {', '.join(_STORES)}",
            hint="rewrite them in lhotse: `with NumpyFilesWriter(DIR) as w: cuts.copy_feats(w)`",
        )


def _piece(item: Mapping[str, Any], features: Mapping[str, Any]) -> tuple[int, int] | None:
    """Find which rows of the stored feature matrix a cut (a piece of a recording) covers.

    Args:
        item: the entry of the cut in the lhotse manifest.
        features: the description of the feature matrix in this entry.

    Returns:
        Two numbers: the first row and the number of rows. None if the cut covers all rows or gives no times.
    """
    shift = float(features.get("frame_shift") or 0)
    start, duration = item.get("start"), item.get("duration")
    if item is features or shift <= 0 or start is None or duration is None:
        return None
    offset = float(start) - float(features.get("start") or 0)
    whole = (
        abs(offset) < shift / 2
        and abs(float(duration) - float(features.get("duration") or duration)) < shift / 2
    )
    return None if whole else (round(offset / shift), round(float(duration) / shift))


def _read(stored: Mapping[str, Mapping[str, Any]], folder: Path, utterance: str) -> Mapping[str, Array]:
    features = stored[utterance]
    where = _place(str(features["storage_path"]), folder)
    if features["storage_type"] == "numpy_files":
        array = read_npy(where / str(features["storage_key"]))
    else:
        array = _from_hdf5(where, str(features["storage_key"]))
    if features["piece"] is not None:
        first, count = features["piece"]
        array = array[max(first, 0) : first + count]
    if not array.size:
        raise UsageError(
            f"{where}: the feature matrix of utterance {utterance} is empty",
            hint="remove its cut from the lhotse manifest, or compute its features again",
        )
    return {ARRAY: array}


def _place(stored: str, folder: Path) -> Path:
    """Find the file of features that a lhotse manifest names.

    Three places are tried: the path relative to the folder of the manifest, the path relative to the working directory,
    and a file with the same name in the folder of the manifest.
    """
    tried = [folder / stored, Path(stored), folder / Path(stored).name]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise UsageError(
            f"file of features not found: {stored}",
            hint=f"put it at the path in the lhotse manifest, or into {folder}",
        )
    return found


def _from_hdf5(path: Path, key: str) -> Array:
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = own_dataset(file, key)
            if data is None:
                raise UsageError(
                    f"{path}: {key!r} is not a matrix of numbers", hint="check that the file is complete"
                )
            check_dataset(data, f"{path}: {key!r}")
            return read_dataset(data, f"{path}: {key!r}")
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{path}: not readable as HDF5 ({error})", hint="check that the file is complete"
        ) from error
