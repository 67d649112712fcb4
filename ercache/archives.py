"""Check a zip archive from an untrusted source by its table of contents, before anything is unpacked.

The table of contents states the unpacked size of every file in the archive, and Python unpacks at most that many bytes.
Refusing archives with large stated sizes therefore limits memory and disk use.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Final

ALWAYS_ALLOWED: Final = 1 << 26  # bytes of content that are accepted whatever the archive's size
# Largest accepted ratio of content to archive. Numbers compress less; deflate could reach 1032.
MAX_RATIO: Final = 100
# Exceptions of reading a member whose content does not fit the table.
UNPACK_ERRORS: Final = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError)


class BadArchive(ValueError):
    """A zip archive was refused, because it is damaged or unsafe to unpack. The message says what is wrong."""


def members_of(path: Path, packed: bool = True) -> dict[str, zipfile.ZipInfo]:
    """Check a zip archive and list the files in it. Nothing is unpacked.

    Args:
        packed: whether the files in the archive may be compressed. If not, a compressed file is an error.

    Returns:
        A dictionary from the name of each file in the archive to its zip header.

    Raises:
        BadArchive: the archive is damaged, the stated sizes are implausibly large, or a file in it is encrypted,
            compressed by an unknown method, or listed twice.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (*UNPACK_ERRORS, NotImplementedError, ValueError) as error:
        raise BadArchive(f"not a readable zip archive ({error})") from error
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if packed else (zipfile.ZIP_STORED,)
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check(info, methods)
        if info.filename in found:
            raise BadArchive(f"it lists {_shown(info)} twice")
        found[info.filename] = info
    if sum(info.compress_size for info in infos) > size:
        raise BadArchive("the files in it overlap: together they are larger than the archive")
    claimed = sum(info.file_size for info in infos)
    if claimed > max(ALWAYS_ALLOWED, MAX_RATIO * size):
        raise BadArchive(
            f"its content would be {claimed:,} bytes, {claimed // max(size, 1):,} times the archive's size"
        )
    return found


def _check(info: zipfile.ZipInfo, methods: tuple[int, ...]) -> None:
    if info.flag_bits & 1:
        raise BadArchive(f"{_shown(info)} is encrypted")
    if info.compress_type not in methods:
        known = " or deflated" if len(methods) > 1 else ""
        raise BadArchive(f"{_shown(info)} is compressed by method {info.compress_type}, not stored{known}")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise BadArchive(f"{_shown(info)} has two sizes: {info.compress_size:,} and {info.file_size:,}")


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.filename[:100])
