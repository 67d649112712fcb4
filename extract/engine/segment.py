"""A segment file: records one after the other, each a fixed head (magic, unit key, length, checksum) and a payload.

Its writer holds a lock on it as long as it lives, where the file system has locks. Nothing in it is believed without
its checksum, and what a kill, a full disk or a flipped bit damaged costs that record only.
"""

import fcntl
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HEAD = struct.Struct(">4s32sQ16s")
MAGIC = b"erc1"
_BLOCK = 1 << 20


def segments(folder: Path) -> list[Path]:
    """The segment files of a store, in the order in which they are looked through."""
    return sorted(path for path in folder.glob("*.seg") if not path.name.startswith("."))


def heads(stream: BinaryIO, offset: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Offset, unit key and payload length of each whole record from an offset on; a damaged head is skipped."""
    size = os.fstat(stream.fileno()).st_size
    while offset + HEAD.size <= size:
        stream.seek(offset)
        magic, key, length, _ = HEAD.unpack(stream.read(HEAD.size))
        if magic == MAGIC and offset + HEAD.size + length <= size:
            yield offset, key, length
            offset += HEAD.size + length
        else:
            offset = _next_magic(stream, offset + 1, size)


def _next_magic(stream: BinaryIO, offset: int, size: int) -> int:
    """Where the next magic stands, or the end of the file; a block of it in memory at a time."""
    while offset < size:
        stream.seek(offset)
        block = stream.read(_BLOCK)
        found = block.find(MAGIC)
        if found >= 0:
            return offset + found
        offset += max(1, len(block) - len(MAGIC) + 1)
    return size


def payload_at(stream: BinaryIO, offset: int, key: bytes) -> bytes | None:
    """The payload of the record at an offset; None when there is no whole, undamaged record of that key."""
    stream.seek(offset)
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    magic, found, length, checksum = HEAD.unpack(head)
    if magic != MAGIC or found != key or length > os.fstat(stream.fileno()).st_size:
        return None
    payload = stream.read(length)
    return payload if len(payload) == length and _checksum(key, payload) == checksum else None


def append(fd: int, key: bytes, payload: bytes) -> None:
    """Write a record where the descriptor stands."""
    for part in (HEAD.pack(MAGIC, key, len(payload), _checksum(key, payload)), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]


def lock(fd: int) -> bool:
    """Whether nobody is writing the segment; then nobody else will, as long as the descriptor is open.

    Where a file system has no locks, nobody can tell, and everything counts as being written.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def locks_work(folder: Path) -> bool:
    """Whether files there can be locked: not on NFS without its daemon, on Lustre without the option, on some FUSE."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        return lock(stream.fileno())


def _checksum(key: bytes, payload: bytes) -> bytes:
    state = hashlib.blake2b(key, digest_size=16)
    state.update(payload)
    return state.digest()
