"""The formats that can be imported, and the one door to them: a file, its format and a manifest become caches."""

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
from ercache.formats.reimport import EXPORT_READERS, read_export
from ercache.formats.table import read_table
from ercache.manifest import Manifest
from ercache.params.load import suggestion

Reader = Callable[[Path, Manifest, str], FileContent]
# The tuple pickle is known under the names of the projects that publish it.
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
    **{name: partial(read_export, read) for name, read in EXPORT_READERS.items()},
}
# What a file of the right kind and a wrong inside does to a reader (RuntimeError and OSError: HDF5 at a damaged
# place); each of them is told as such.
_STRUCTURE: Final = (
    TypeError, KeyError, IndexError, AttributeError, ValueError, OverflowError, RuntimeError, OSError, MemoryError,
)  # fmt: skip


def import_file(
    path: Path, form: str, manifest: Manifest, root: Path, name: str = "", modality: str = ""
) -> ImportResult:
    """Make caches of a file of another project.

    Args:
        form: its format, one of `FORMATS`.
        root: folder of the caches.
        name: of the feature, or the beginning of the names; by default from the file.
        modality: where the format does not tell it.

    Raises:
        UsageError: the file is absent, is not of that format, is refused, or has nothing of this corpus.
    """
    key = re.sub(r"[ _]", "-", form.lower())
    key = {"mmdfn": "mm-dfn"}.get(key, key)
    if key not in FORMATS:
        raise UsageError(f"unknown format {form!r}", hint=suggestion(key, FORMATS))
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}", hint="give its path as seen from here")
    if path.is_dir() != (key == "merbench") and key != "table":
        kind = "a folder" if path.is_dir() else "a file"
        raise UsageError(
            f"{path} is {kind}", hint="merbench and table are a folder of .npy, every other format is a file"
        )
    imported: dict[str, Any] = {"format": key, "source": path.resolve().name, "sha256": _digest(path)}
    try:
        content = FORMATS[key](path, manifest, modality)
    except _STRUCTURE as error:
        raise UsageError(
            f"{path}: its inside is not as the format {key} has it ({type(error).__name__}: {error})"[:500],
            hint="docs/features.md tells what is expected",
        ) from error
    return pack(content, manifest, root, name or content.name or _stem(path), imported)


def _stem(path: Path) -> str:
    return plain_name(re.sub(r"(\.jsonl|\.json)?\.[A-Za-z0-9]+$", "", path.name))


def _digest(path: Path) -> str:
    """sha256 of a file, or over the names and digests of all arrays of a folder."""
    if path.is_file():
        return digest_of_file(path)
    return digest_of(
        [
            [p.relative_to(path).as_posix(), digest_of_file(p)]
            for p in sorted(path.rglob("*.npy"))
            if p.is_file()
        ]
    )
