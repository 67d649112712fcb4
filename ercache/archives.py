"""A zip archive of other people, looked at before anything is unpacked: what its table of contents claims.

Python unpacks no more of a member than the table claims, so a table that is bounded bounds all that follows.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Final

ALWAYS_ALLOWED: Final = 1 << 26  # bytes that are no burden, however small the archive
MAX_RATIO: Final = (
    100  # how much smaller than their content archives of numbers get; deflate alone can make it 1032
)
# What reading a member can raise when its content is not what the table says.
UNPACK_ERRORS: Final = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError)


class BadArchive(ValueError):
    """Why an archive is not unpacked, in words."""


def members_of(path: Path, packed: bool = True) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name.

    Args:
        packed: whether members may be compressed.

    Raises:
        BadArchive: it is damaged, a member is encrypted, packed in an unknown way or stands there twice, or it claims
            more than it can hold.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (*UNPACK_ERRORS, NotImplementedError, ValueError) as error:
        raise BadArchive(f"no readable zip archive ({error})") from error
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if packed else (zipfile.ZIP_STORED,)
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check(info, methods)
        if info.filename in found:
            raise BadArchive(f"{_shown(info)} stands in it twice")
        found[info.filename] = info
    if sum(info.compress_size for info in infos) > size:
        raise BadArchive("its members overlap: they are larger than the archive")
    claimed = sum(info.file_size for info in infos)
    if claimed > max(ALWAYS_ALLOWED, MAX_RATIO * size):
        raise BadArchive(
            f"it claims to hold {claimed:,} bytes, {claimed // max(size, 1):,} times its own size"
        )
    return found


def _check(info: zipfile.ZipInfo, methods: tuple[int, ...]) -> None:
    if info.flag_bits & 1:
        raise BadArchive(f"{_shown(info)} is encrypted")
    if info.compress_type not in methods:
        known = " or deflated" if len(methods) > 1 else ""
        raise BadArchive(f"{_shown(info)} is packed by method {info.compress_type}, not stored{known}")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise BadArchive(f"{_shown(info)} has two sizes, {info.compress_size:,} and {info.file_size:,}")


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.filename[:100])
