"""Write a cache as an npz, safetensors or parquet file. (`mmsa_file` writes MMSA's pickle.)

Every writer returns a list of sentences that say which content of the cache the format cannot hold.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.digests import canonical_json
from ercache.errors import UsageError
from ercache.files import atomic_file
from ercache.formats.flat_cache import LABEL, FlatCache

ABOUT: Final = "ercache"
KNOWN: Final = ".known"  # suffix of the array that says where a column of texts is not None
_ALWAYS: Final = (
    "the digests that `ercache cache verify` checks",
    "transcripts, media and splits: the manifest holds them",
)


def write_npz(sheet: FlatCache, path: Path) -> list[str]:
    """Write a cache as an npz file.

    The file holds these entries: one per column (id, status, ...); `<array>/values` and `<array>/offsets` for each
    array of the feature; `present`, which says which utterances have values; and `ercache`, a JSON text with the specs
    of the arrays and the provenance (how the feature was computed).

    Args:
        sheet: content of the cache.
        path: file to write.

    Returns:
        What the npz file does not hold, one sentence each.
    """
    arrays: dict[str, Any] = {}
    for name, column in sheet.columns.items():
        if all(isinstance(value, int) for value in column):
            arrays[name] = np.array(column, np.int64)
        else:
            arrays[name] = np.array(["" if value is None else value for value in column], dtype=str)
            arrays[name + KNOWN] = np.array([value is not None for value in column], dtype=bool)
    for name, (values, offsets) in sheet.arrays.items():
        arrays |= {f"{name}/values": values, f"{name}/offsets": offsets}
    arrays |= {"present": sheet.present, ABOUT: np.array(canonical_json(sheet.about))}
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    return [*_lacking(sheet), *_ALWAYS]


def write_safetensors(sheet: FlatCache, path: Path) -> list[str]:
    """Write a cache as a safetensors file.

    Its tensors are `<array>/values` and `<array>/offsets` for each array of the feature, and `present`, which says
    which utterances have values. Its metadata hold the columns (id, status, ...), the specs of the arrays, and the
    provenance (how the feature was computed) as JSON.

    Args:
        sheet: content of the cache.
        path: file to write.

    Returns:
        What the safetensors file does not hold, one sentence each.
    """
    from safetensors.numpy import save

    tensors = {f"{name}/values": np.ascontiguousarray(values) for name, (values, _) in sheet.arrays.items()}
    tensors |= {f"{name}/offsets": offsets for name, (_, offsets) in sheet.arrays.items()}
    try:
        content = save(
            {**tensors, "present": sheet.present},
            {ABOUT: canonical_json(sheet.about), "columns": json.dumps(sheet.columns, ensure_ascii=False)},
        )
    except (KeyError, ValueError, TypeError) as error:
        kinds = ", ".join(sorted({str(values.dtype) for values, _ in sheet.arrays.values()}))
        raise UsageError(
            f"safetensors cannot hold arrays of type {kinds} ({error})", hint="export to npz"
        ) from error
    with atomic_file(path, len(content)) as temporary:
        temporary.write_bytes(content)
    return [*_lacking(sheet), *_ALWAYS]


def write_parquet(sheet: FlatCache, path: Path) -> list[str]:
    """Write a cache as a parquet file with one row per utterance.

    Each array of the feature is one column. A cell holds the array of one utterance: a list of numbers for a vector, a
    list of lists for a sequence, and null if the utterance has no feature.

    Args:
        sheet: content of the cache.
        path: file to write.

    Returns:
        What the parquet file does not hold, one sentence each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        name: pa.array(column, pa.int64() if name in ("frames", "index") else pa.string())
        for name, column in sheet.columns.items()
    }
    absent = pa.array(~sheet.present)
    lost = [*_lacking(sheet), *_ALWAYS]
    for spec in sheet.specs:
        values, offsets = sheet.arrays[spec.name]
        width = int(np.prod(spec.shape, dtype=np.int64))
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        if spec.kind == "vector":
            made = pa.LargeListArray.from_arrays(pa.array(offsets * width), flat, mask=absent)
        else:
            steps = pa.array(np.arange(len(values) + 1, dtype=np.int64) * width)
            rows = pa.LargeListArray.from_arrays(steps, flat)
            made = pa.LargeListArray.from_arrays(pa.array(offsets), rows, mask=absent)
        columns[f"array:{spec.name}"] = made
        if len(spec.shape) > 1:
            lost.append(
                f"the axes of {spec.name}: rows of {list(spec.shape)} are flattened (the metadata has the shape)"
            )
    table = pa.table(columns).replace_schema_metadata({ABOUT: canonical_json(sheet.about)})
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary)
    return lost


def _lacking(sheet: FlatCache) -> list[str]:
    if any(name.startswith(LABEL) for name in sheet.columns):
        return []
    return ["labels, speakers and dialogues: the manifest of the corpus is absent or has no label set"]


WRITERS: Final[Mapping[str, Callable[[FlatCache, Path], list[str]]]] = {
    "npz": write_npz,
    "safetensors": write_safetensors,
    "parquet": write_parquet,
}
