"""Make zip archives with a damaged table of contents or damaged content."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

_CENTRAL = b"PK\x01\x02"
_FLAGS, _METHOD, _CRC, _PACKED, _SIZE = 8, 10, 16, 20, 24  # where they stand in an entry of the table
_FORMATS = {_FLAGS: "<H", _METHOD: "<H", _CRC: "<I", _PACKED: "<I", _SIZE: "<I"}


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _claimed(path: Path, member: str, field: int, value: int) -> Path:
    content = bytearray(path.read_bytes())
    at = content.find(_CENTRAL)
    while content[at + 46 : at + 46 + len(member)] != member.encode():
        at = content.index(_CENTRAL, at + 1)
    struct.pack_into(_FORMATS[field], content, at + field, value)
    path.write_bytes(content)
    return path


def encrypted(path: Path, member: str) -> Path:
    return _claimed(path, member, _FLAGS, 1)


def of_unknown_method(path: Path, member: str) -> Path:
    return _claimed(path, member, _METHOD, 99)


def larger(path: Path, member: str, size: int = 3 << 30) -> Path:
    return _claimed(path, member, _SIZE, size)


def damaged(path: Path, member: str) -> Path:
    """Flip one bit in the content of a file in a zip archive, without changing its checksum."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    begin = (
        info.header_offset + 30 + len(member) + struct.unpack_from("<H", content, info.header_offset + 28)[0]
    )
    content[begin + info.compress_size // 2] ^= 1
    path.write_bytes(content)
    return path


def bomb(path: Path, member: str, size: int = 3 << 30) -> Path:
    """Add a file of zeros to a zip archive (a zip bomb)."""
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(member, "w", force_zip64=True) as stream,
    ):
        for _ in range(size >> 24):
            stream.write(bytes(1 << 24))
    return path
