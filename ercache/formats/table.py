"""Read plain tables of ids and vectors (`--format table`): npz, pickled dictionary, csv, parquet, or a folder of .npy
files.

These are layouts that people write by hand, and the layouts of MELD's own feature pickles (one dictionary for each of
train, dev and test). A column or array with a name such as `id` or `ids` holds the ids. Every other array of numbers is
a feature. In csv and parquet files, the columns of single numbers together form the vector.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import FileContent, feature_from_rows, first_few, modality_of
from ercache.formats.ids import PARTS, IdMatcher
from ercache.formats.merbench import read_merbench
from ercache.formats.npy import read_npz
from ercache.formats.numbers import NUMBERS, as_numbers
from ercache.formats.table_columns import ID_NAMES, read_csv_table, read_parquet_table
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest

_EXAMPLE: Final = "docs/features.md shows examples; name an array of ids `ids`, and a column of ids `id`"


@dataclass
class IdTable:
    """A table of ids and vectors, for one part of a corpus (train, dev or test) or for all of it.

    Attributes:
        names: names that the file gives to the utterances.
        features: dictionary from feature name to rows; row i belongs to utterance i of `names`.
        part: part of the corpus that the utterances belong to, if the file says so; otherwise "".
        notes: sentences for the user about data that was left out.
    """

    names: Sequence[object]
    features: dict[str, Sequence[Any]]
    part: str = ""
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, manifest: Manifest, modality: str, kind: str = "") -> FileContent:
    """Read a plain table of ids and vectors: a file, or a folder of .npy files.

    Args:
        kind: type of the table as a suffix, such as `.npz`; "" means the suffix of the file's own name.
        modality: modality of the features; may be "" if the name of the file or of an array shows it.

    Raises:
        UsageError: the file is not a table of ids and numbers, or its ids are not in the manifest.
    """
    if path.is_dir():
        return read_merbench(path, manifest, modality)
    reader = _READERS.get(kind or path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: this type of table is not supported: {path.suffix or 'a file without a suffix'}",
                         hint=f"give one of {', '.join(_READERS)}, or a folder of .npy files")  # fmt: skip
    ids = IdMatcher(manifest)
    rows: dict[str, dict[str, Array]] = {}
    notes: list[str] = []
    for table in reader(path):
        placed, told = ids.placed(table.names, table.part, str(path))
        notes += [*told, *table.notes]
        for name, values in table.features.items():
            mine = rows.setdefault(name, {})
            for i, utterance in placed.items():
                if utterance in mine:
                    raise UsageError(
                        f"{path}: two rows belong to utterance {utterance}",
                        hint="check that --corpus names the corpus of this file",
                    )
                mine[utterance] = as_numbers(values[i], f"{path}: {name or 'the vector'} of {utterance}")
    found = tuple(
        feature_from_rows(name, modality_of(f"{name} {path.stem}".strip(), modality), of)
        for name, of in rows.items()
    )
    return FileContent(found, tuple(dict.fromkeys(notes)))


def _from_npz(path: Path) -> list[IdTable]:
    """Read an npz file: either an array `ids` and arrays with one row per id, or one array per id."""
    arrays = read_npz(path, lambda name: False)
    named = next((name for name in arrays if name.lower() in ID_NAMES), None)
    if named is None:
        texts = [name for name, array in arrays.items() if array.dtype.kind not in NUMBERS]
        if texts or not arrays:
            raise UsageError(f"{path}: no array of ids (found: {first_few(list(arrays), 20)})", hint=_EXAMPLE)
        return [IdTable(list(arrays), {"": list(arrays.values())})]
    names = _flat(arrays.pop(named), path)
    return [_beside(names, arrays, path)]


def _from_pickle(path: Path) -> list[IdTable]:
    """Read tables of ids and vectors from a pickle.

    Three layouts are accepted: a dictionary from id to vector; a dictionary with `ids` and arrays with one row per id;
    and one of these dictionaries for each of train, dev and test.

    Returns:
        One table, or one for each of train, dev and test.
    """
    return _tables(load_pickle(path), path)


def _tables(given: Any, path: Path, part: str = "") -> list[IdTable]:
    if (
        isinstance(given, list | tuple)
        and len(given) == len(PARTS)
        and all(isinstance(d, dict) for d in given)
    ):
        return [t for p, d in zip(PARTS, given, strict=True) for t in _tables(d, path, p)]
    if not isinstance(given, dict) or not given:
        raise UsageError(
            f"{path}: not a table of ids and vectors, but a {type(given).__name__}", hint=_EXAMPLE
        )
    parts = {str(key): IdMatcher.part_of(str(key)) for key in given}
    if not part and all(parts.values()) and all(isinstance(d, dict) for d in given.values()):
        return [t for key, d in given.items() for t in _tables(d, path, parts[str(key)])]
    named = next((key for key in given if str(key).lower() in ID_NAMES), None)
    if named is not None:
        rest = {str(key): value for key, value in given.items() if key != named}
        table = _beside(_flat(given[named], path), rest, path)
        table.part = part
        return [table]
    return [IdTable(list(given), {"": list(given.values())}, part)]


def _beside(names: Sequence[object], arrays: Mapping[str, Any], path: Path) -> IdTable:
    """Build a table from a list of ids and several arrays. Row i of each array belongs to id i.

    Arrays with a single number per id are left out, because they are usually labels.
    """
    features: dict[str, Sequence[Any]] = {
        name: list(values)
        for name, values in arrays.items()
        if isinstance(values, list | tuple | np.ndarray)
        and len(values) == len(names)
        and (
            values.ndim > 1 and values.dtype.kind in NUMBERS
            if isinstance(values, np.ndarray)
            else _rows(values)
        )
    }
    if not features:
        told = first_few(
            [
                f"{name} {list(np.shape(v)) if isinstance(v, np.ndarray) else type(v).__name__}"
                for name, v in arrays.items()
            ]
        )
        raise UsageError(
            f"{path}: there are {len(names)} ids, but no array with one vector per id (found: {told})",
            hint=_EXAMPLE,
        )
    left = [name for name in arrays if name not in features]
    notes = [f"arrays without a vector for each id were left out: {first_few(left, 9)}"] if left else []
    plain = {"": next(iter(features.values()))} if len(features) == 1 else features
    return IdTable(names, plain, notes=notes)


def _rows(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(row, list | tuple | np.ndarray) for row in values)


def _flat(names: Any, path: Path) -> list[object]:
    if not isinstance(names, list | tuple | np.ndarray) or (
        isinstance(names, np.ndarray) and names.ndim != 1
    ):
        raise UsageError(f"{path}: the ids are not a list of names", hint=_EXAMPLE)
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in list(names)]


def _from_columns(
    read: Callable[[Path], tuple[list[str], dict[str, Sequence[Any]], list[str]]], path: Path
) -> list[IdTable]:
    names, features, left = read(path)
    notes = [f"columns without numbers were left out: {first_few(left, 9)}"] if left else []
    return [IdTable(names, features, notes=notes)]


_READERS: Final[Mapping[str, Callable[[Path], list[IdTable]]]] = {
    ".npz": _from_npz,
    **dict.fromkeys((".pkl", ".pickle", ".p"), _from_pickle),
    ".csv": lambda path: _from_columns(read_csv_table, path),
    ".parquet": lambda path: _from_columns(read_parquet_table, path),
}
