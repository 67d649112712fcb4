"""Check a file in the format of `torch.save`, before torch reads it.

There are two such formats: a zip archive (torch 1.6 and later), and a sequence of pickles (older versions). A malicious
file could crash the process in two ways: torch believes every size that a zip archive states, and accepts every object
in a pickle as the key of a dictionary, even one that takes for ever to compare. This module refuses such files.
"""

import mmap
import pickletools
import zipfile
from pathlib import Path
from typing import Final

from ercache.archives import UNPACK_ERRORS, BadArchive, members_of
from ercache.errors import WeightsError
from ercache.pickle_check import BadPickle, check_pickle

KEYS: Final = 64  # largest number of items in a tuple that is a key
_LEGACY_PICKLES: Final = 5  # magic number, protocol, machine, content, keys of storages
_OPCODES: Final = frozenset(op.name for op in pickletools.opcodes)  # torch itself allows fewer


def check_torch_file(path: Path) -> None:
    """Refuse a file in the format of `torch.save` if it could exhaust memory or crash the process.

    Raises:
        WeightsError: the zip archive is damaged, encrypted, compressed or states impossible sizes, or the pickle has
            impossible sizes or keys.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path)
        else:
            _check_legacy(path)
    except (BadArchive, BadPickle) as error:
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({error})",
            hint="the file is not as torch.save wrote it (compressed or encrypted); download the original file",
        ) from error


def check_sums(path: Path) -> None:
    """Compare each file in a zip archive with its stored checksum, because torch does not do this.

    A path to any other kind of file is accepted without a check.

    Raises:
        WeightsError: a file in the archive does not have the stored checksum.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except UNPACK_ERRORS as error:
        raise WeightsError(f"{path}: damaged ({error})", hint="download it again") from error
    if wrong is not None:
        raise WeightsError(
            f"{path}: damaged (the content of {wrong!r} does not fit its checksum)", hint="download it again"
        )


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
            for _ in range(_LEGACY_PICKLES):
                if at < len(data):
                    at = check_pickle(data, at, _OPCODES, KEYS)
