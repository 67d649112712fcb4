"""Read csv and parquet tables: one column holds ids; the other columns hold numbers, or lists of numbers."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.errors import UsageError
from ercache.formats.parquet import read_parquet

# Usual names of a column or an array of ids, in lower case.
ID_NAMES: Final = frozenset((
    "id", "ids", "utterance", "utterances", "utterance_id", "utterance_ids", "utt_id", "name", "names", "key", "keys",
    "file", "files", "filename", "filenames", "segment", "clip",
))  # fmt: skip
_LINE: Final = 1 << 24  # longest first line, bytes
Columns = tuple[list[str], dict[str, Sequence[Any]], list[str]]  # ids, features, names of columns left out


def read_csv_table(path: Path) -> Columns:
    """Read a csv file with a header. Its columns of numbers form one vector per row, in the order of the columns.

    Returns:
        Three values: the ids, a dictionary from feature name to vectors, and the names of the columns that were left
            out.

    Raises:
        UsageError: the file has no column of ids, no column of numbers, or is not a csv file.
    """
    import pyarrow as pa
    import pyarrow.csv as pacsv

    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as stream:
            header = next(csv.reader([stream.readline(_LINE)]), [])
        named = _id_column(header, path)
        options = pacsv.ConvertOptions(column_types={named: pa.string()})
        table = pacsv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: not readable as csv ({error})"[:500],
            hint="save it as UTF-8, with a header line and commas",
        ) from error
    return _columns(table, named, path)


def read_parquet_table(path: Path) -> Columns:
    """Read the ids and vectors of a Parquet file.

    Each column of lists is a feature. If there is none, the columns of numbers together form one feature.

    Returns:
        Three values: the ids, a dictionary from feature name to vectors, and the names of the columns that were left
            out.

    Raises:
        UsageError: the file has no column of ids, no column of numbers, or is not a Parquet file.
    """
    import pyarrow as pa

    try:
        table = read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(
            f"{path}: not readable as Parquet ({error})"[:500], hint="check that the file is complete"
        ) from error
    return _columns(table, _id_column(table.column_names, path), path)


def _id_column(header: Sequence[str], path: Path) -> str:
    found = [name for name in header if name.strip().lower() in ID_NAMES]
    if not found:
        told = f"{', '.join(header[:9])}{' and more' if len(header) > 9 else ''}"
        raise UsageError(
            f"{path}: no column of utterance ids (found: {told})"[:500], hint="name the column of ids `id`"
        )
    return found[0]


def _columns(table: Any, named: str, path: Path) -> Columns:
    from pyarrow import types

    ids = [str(name) for name in table.column(named).to_pylist()]
    lists: dict[str, Sequence[Any]] = {}
    numbers, left = [], []
    for place, spec in enumerate(table.schema):
        if spec.name == named:
            continue
        column = table.column(place)
        if types.is_list(spec.type) or types.is_large_list(spec.type) or types.is_fixed_size_list(spec.type):
            lists[spec.name] = column.to_pylist()
        elif types.is_integer(spec.type) or types.is_floating(spec.type):
            numbers.append(column.to_numpy())
        else:
            left.append(spec.name)
    if numbers and not lists:
        return ids, {"": list(np.stack(numbers, axis=1))}, left
    if not lists:
        raise UsageError(
            f"{path}: the file has no column of numbers except the column of ids, {named!r}",
            hint="add the features as columns; docs/features.md shows examples",
        )
    features = {"": next(iter(lists.values()))} if len(lists) == 1 else lists
    return ids, features, left + (["columns of one number"] if numbers else [])
