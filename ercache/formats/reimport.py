"""Read files that `ercache cache export` wrote. Values, ids, statuses and reasons equal those of the cache."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.archives import BadArchive, members_of
from ercache.cache import Array, Status
from ercache.errors import UsageError
from ercache.formats.content import FileContent, FoundFeature, first_few
from ercache.formats.export import ABOUT, KNOWN
from ercache.formats.flat_cache import LABEL, FlatCache
from ercache.formats.ids import IdMatcher
from ercache.formats.npy import read_npz
from ercache.formats.parquet import read_parquet
from ercache.manifest import Manifest
from ercache.reasons import Reason


def read_export(
    read: Callable[[Path], FlatCache], path: Path, manifest: Manifest, modality: str
) -> FileContent:
    """Read a file that `ercache cache export` wrote.

    The file tells how the feature was computed. The cache stores this only as a claim, because it cannot be verified.

    Args:
        read: function that reads a file of this format, one of `EXPORT_READERS`.

    Raises:
        UsageError: ercache did not export the file, or it is damaged.
    """
    try:
        sheet = read(path)
        specs, about = sheet.specs, sheet.about["provenance"]
        statuses = [Status(status) for status in sheet.columns["status"]]
        reasons = [Reason(reason) if reason else None for reason in sheet.columns["reason"]]
        feature, modality = str(about["feature"]), modality or str(about["modality"])
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=_HINT) from error
    except Exception as error:  # three libraries, each with its own exceptions
        message = f"{path}: not readable as a file that ercache exported ({type(error).__name__}: {error})"[
            :500
        ]
        raise UsageError(message, hint=_HINT) from error
    ids = IdMatcher(manifest)
    placed = {name: i for i, name in enumerate(sheet.columns["id"]) if name in ids.by_id}
    unknown = [name for name in sheet.columns["id"] if name not in placed]
    full = tuple(name for name, i in placed.items() if statuses[i] == Status.OK)
    gaps = {name: reasons[i] or Reason.ABSENT for name, i in placed.items() if statuses[i] != Status.OK}
    notes = (
        [f"{len(unknown)} of its utterances are not in the manifest: {first_few(unknown)}"] if unknown else []
    )
    notes += _label_notes(sheet, ids, placed)
    frames = {name: int(sheet.columns["frames"][i]) for name, i in placed.items()}
    found = FoundFeature(feature, modality, full, partial(_rows, sheet, placed), specs, gaps, frames)
    return FileContent((found,), tuple(notes), {"provenance": about}, feature)


def is_export(path: Path, form: str) -> bool:
    """Whether an npz or parquet file was exported by ercache, and is not a table of another project.

    Also true if the file cannot be opened, so that the reader of exported files reports the error.
    """
    try:
        if form == "npz":
            return f"{ABOUT}.npy" in members_of(path)
        from pyarrow import ArrowException
        from pyarrow.parquet import read_schema

        try:
            return ABOUT.encode() in (read_schema(path).metadata or {})
        except ArrowException:
            return True
    except (BadArchive, OSError):
        return True


def _rows(sheet: FlatCache, placed: Mapping[str, int], utterance: str) -> Mapping[str, Array]:
    i = placed[utterance]
    return {name: values[offsets[i] : offsets[i + 1]] for name, (values, offsets) in sheet.arrays.items()}


def _label_notes(sheet: FlatCache, ids: IdMatcher, placed: Mapping[str, int]) -> list[str]:
    notes = []
    for column in (c for c in sheet.columns if c.startswith(LABEL)):
        name = column.removeprefix(LABEL)
        given = sheet.columns[column]
        differ = [u for u, i in placed.items() if ids.by_id[u].labels.get(name) != given[i]]
        result = (
            f"{len(differ)} of {len(placed)} differ, those of the manifest are kept: {first_few(differ)}"
            if differ
            else "all are equal"
        )
        notes.append(f"labels of {name}: {result}")
    return notes


_HINT: Final = (
    "check that it is a complete file of `ercache cache export`; for a plain table of ids and vectors, use "
    "--format table"
)
_ARRAYS: Final = ("/values", "/offsets")


def _read_npz(path: Path) -> FlatCache:
    arrays = read_npz(path, lambda name: name.endswith(_ARRAYS))
    columns: dict[str, list[Any]] = {}
    for name in (n for n in arrays if "/" not in n and not n.endswith(KNOWN) and n not in (ABOUT, "present")):
        known = arrays.get(name + KNOWN, np.ones(len(arrays[name]), bool)).tolist()
        columns[name] = [v if k else None for v, k in zip(arrays[name].tolist(), known, strict=True)]
    return FlatCache(json.loads(str(arrays[ABOUT])), columns, _pairs(arrays))


def _read_safetensors(path: Path) -> FlatCache:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return FlatCache(json.loads(metadata[ABOUT]), json.loads(metadata["columns"]), _pairs(arrays))


def _pairs(arrays: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
    names = [name.removesuffix("/values") for name in arrays if name.endswith("/values")]
    return {name: (arrays[f"{name}/values"], arrays[f"{name}/offsets"]) for name in names}


def _read_parquet(path: Path) -> FlatCache:
    import pyarrow.compute as pc

    table = read_parquet(path)
    about = json.loads(table.schema.metadata[ABOUT.encode()])
    arrays: dict[str, tuple[Array, Array]] = {}
    for spec in about["specs"]:
        column = table.column(f"array:{spec['name']}").combine_chunks()
        width = int(np.prod(spec["shape"], dtype=np.int64))
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        flat = column.flatten() if spec["kind"] == "vector" else column.flatten().flatten()
        values = flat.to_numpy(zero_copy_only=False).astype(spec["dtype"], copy=False)
        steps = lengths // width if spec["kind"] == "vector" else lengths
        offsets = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
        arrays[spec["name"]] = (values.reshape(-1, *spec["shape"]), offsets)
    names = [name for name in table.column_names if not name.startswith("array:")]
    return FlatCache(about, {name: table.column(name).to_pylist() for name in names}, arrays)


EXPORT_READERS: Final[Mapping[str, Callable[[Path], FlatCache]]] = {
    "npz": _read_npz,
    "safetensors": _read_safetensors,
    "parquet": _read_parquet,
}
