"""List the file formats that can be imported, and import a file of another project as caches."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from ercache.digests import digest_of, digest_of_file
from ercache.errors import UsageError
from ercache.formats.content import FileContent
from ercache.formats.cosmic import read_cosmic
from ercache.formats.csd import read_csd
from ercache.formats.dialogue_pickle import read_dialogue_pickle
from ercache.formats.lhotse import read_lhotse
from ercache.formats.merbench import read_merbench
from ercache.formats.mmsa import read_mmsa
from ercache.formats.mult import read_mult
from ercache.formats.packing import ImportResult, pack, plain_name
from ercache.formats.reimport import EXPORT_READERS, is_export, read_export
from ercache.formats.table import read_table
from ercache.manifest import Manifest
from ercache.params.load import suggestion

Reader = Callable[[Path, Manifest, str], FileContent]
# The tuple pickle goes by the names of the projects that publish it.
TUPLES: Final = ("mmgcn", "mm-dfn", "dialoguernn", "dialogue-pickle")
FORMATS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(TUPLES, read_dialogue_pickle),
    "cosmic": read_cosmic,
    "mmsa": read_mmsa,
    "mult": read_mult,
    "csd": read_csd,
    "merbench": read_merbench,
    "lhotse": read_lhotse,
    "table": read_table,
    # Plain tables by the names of their types.
    "csv": partial(read_table, kind=".csv"),
    "pickle": partial(read_table, kind=".pkl"),
    "npy": read_table,
    **{name: partial(read_export, read) for name, read in EXPORT_READERS.items()},
}
_TABLES: Final = ("npz", "parquet")  # formats of exported files that are also types of plain tables
_FILE_OR_FOLDER: Final = ("table", "npy")
# Exceptions of a reader when the content of a file does not fit its format. HDF5 raises RuntimeError and OSError at
# damaged places.
STRUCTURE_ERRORS: Final = (
    TypeError, KeyError, IndexError, AttributeError, ValueError, OverflowError, RuntimeError, OSError, MemoryError,
)  # fmt: skip


def import_file(
    path: Path, form: str, manifest: Manifest, root: Path, name: str = "", modality: str = ""
) -> ImportResult:
    """Import a file of another project as caches.

    Args:
        path: the file; some formats take a folder.
        form: name of the format, one of `FORMATS`.
        manifest: manifest of the corpus that the utterances belong to.
        root: folder for the caches.
        name: name of the imported feature, or the prefix if the file has several features; by default the file's name.
        modality: modality, needed if the format does not define it.

    Returns:
        Names of the features, paths of the caches, number of utterances, and notes for the user.

    Raises:
        UsageError: the file is absent, not of that format, unsafe to load, or has no utterance of this corpus.
    """
    key = re.sub(r"[ _]", "-", form.lower())
    key = {"mmdfn": "mm-dfn", "pkl": "pickle"}.get(key, key)
    if key not in FORMATS:
        raise UsageError(f"unknown format {form!r}", hint=suggestion(key, FORMATS))
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}", hint="check the path")
    if path.is_dir() != (key == "merbench") and key not in _FILE_OR_FOLDER:
        kind = "a folder" if path.is_dir() else "a file"
        raise UsageError(
            f"{path} is {kind}, but the format {key} does not take {kind}",
            hint="give a folder of .npy files for merbench and npy, a folder or a file for table, and a file for all "
            "other formats",
        )
    plain = key in _TABLES and not is_export(path, key)
    reader: Reader = partial(read_table, kind=f".{key}") if plain else FORMATS[key]
    imported: dict[str, Any] = {"format": key, "source": path.resolve().name, "sha256": _digest(path)}
    try:
        content = reader(path, manifest, modality)
    except STRUCTURE_ERRORS as error:
        raise UsageError(
            f"{path}: the content does not fit the format {key} ({type(error).__name__}: {error})"[:500],
            hint="check --format; docs/features.md describes the formats",
        ) from error
    return pack(content, manifest, root, name or content.name or _stem(path), imported)


def _stem(path: Path) -> str:
    return plain_name(re.sub(r"(\.jsonl|\.json)?\.[A-Za-z0-9]+$", "", path.name))


def _digest(path: Path) -> str:
    return digest_of_file(path) if path.is_file() else digest_of_folder(path)


def digest_of_folder(path: Path) -> str:
    """Compute the sha256 of the names and digests of all .npy files in a folder."""
    return digest_of(
        [
            [p.relative_to(path).as_posix(), digest_of_file(p)]
            for p in sorted(path.rglob("*.npy"))
            if p.is_file()
        ]
    )
