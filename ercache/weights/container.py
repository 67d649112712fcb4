"""A look at what torch saved before torch reads it: the zip of version 1.6 and later, and the row of pickles before it.

Torch trusts the sizes in a zip, and hashes whatever key the pickle has: both could end this process.
"""

import mmap
import pickletools
import zipfile
from pathlib import Path
from typing import Final

from ercache.archives import UNPACK_ERRORS, BadArchive, members_of
from ercache.errors import WeightsError
from ercache.pickle_check import BadPickle, check_pickle

KEYS: Final = 64  # items of a tuple that is a key
_ROW: Final = 5  # magic number, protocol, machine, content, keys of storages
_OPCODES: Final = frozenset(op.name for op in pickletools.opcodes)  # torch has a shorter list of its own


def check_torch_file(path: Path) -> None:
    """Refuse a file that would not be read in bounds.

    Raises:
        WeightsError: its zip is damaged, encrypted, packed or claims more than it holds, or its pickle has a size or
            a key beyond all bounds.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path)
        else:
            _check_legacy(path)
    except (BadArchive, BadPickle) as error:
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({error})",
            hint="get it again; torch.save stores its tensors without compression or encryption",
        ) from error


def check_sums(path: Path) -> None:
    """Compare the checksums of a zip with its content, which torch does not.

    Raises:
        WeightsError: they differ.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except UNPACK_ERRORS as error:
        raise WeightsError(f"{path}: damaged ({error})", hint="get it again") from error
    if wrong is not None:
        raise WeightsError(f"{path}: damaged, {wrong!r} differs from its CRC", hint="get it again")


def _check_zip(path: Path) -> None:
    content = [info for name, info in members_of(path, packed=False).items() if name.endswith("/data.pkl")]
    try:
        with zipfile.ZipFile(path) as archive:
            for info in content:
                check_pickle(archive.read(info), 0, _OPCODES, KEYS)
    except UNPACK_ERRORS as error:
        raise BadArchive(f"its data.pkl: {error}") from error


def _check_legacy(path: Path) -> None:
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise BadPickle("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = 0
            for _ in range(_ROW):
                if at < len(data):
                    at = check_pickle(data, at, _OPCODES, KEYS)
