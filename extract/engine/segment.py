"""Segments: the files in which the store keeps its records (finished results), one after the other.

Each record has a head of fixed length (magic bytes, key, length, checksum) and a payload, the stored result. Until a
process ends, it holds a lock on the segment that it writes, if the file system supports locks. A payload is used only
if its checksum is right. So a kill, a full disk or a flipped bit costs only the record that it damages.
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
BLOCK = 1 << 20  # bytes that a search for the next record reads at a time


def segments(folder: Path) -> list[Path]:
    """Return the paths of all segment files in a folder of the store, sorted by name."""
    return sorted(path for path in folder.glob("*.seg") if not path.name.startswith("."))


def record_heads(stream: BinaryIO, offset: int = 0, block: int = BLOCK) -> Iterator[tuple[int, bytes, int]]:
    """Yield (byte offset, key, payload length) of each complete record of a segment; skip damaged heads.

    Args:
        stream: the open segment file.
        offset: byte position at which the search begins.
        block: bytes that are read at once while searching for the next record after damage.
    """
    size = os.fstat(stream.fileno()).st_size
    while offset + HEAD.size <= size:
        stream.seek(offset)
        magic, key, length, _ = HEAD.unpack(stream.read(HEAD.size))
        if magic == MAGIC and offset + HEAD.size + length <= size:
            yield offset, key, length
            offset += HEAD.size + length
        else:
            offset = _next_magic(stream, offset + 1, size, block)


def _next_magic(stream: BinaryIO, offset: int, size: int, block: int) -> int:
    """Return the byte offset at which the next record may begin (the next magic bytes), or the end of the file.

    The file is read one block at a time.
    """
    while offset < size:
        stream.seek(offset)
        read = stream.read(block)
        found = read.find(MAGIC)
        if found >= 0:
            return offset + found
        offset += max(1, len(read) - len(MAGIC) + 1)
    return size


def payload_at(stream: BinaryIO, offset: int, key: bytes) -> bytes | None:
    """Return the payload of the record at an offset; None if no complete, undamaged record with this key is there."""
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
    """Write a record at the current position of an open segment file: a head with key and checksum, and a payload."""
    for part in (HEAD.pack(MAGIC, key, len(payload), _checksum(key, payload)), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]


def try_lock(fd: int) -> bool:
    """Try to lock an open segment file, and return whether this worked.

    If it worked, no other process can write the segment until the file is closed here. On a file system without locks
    it never works, so every segment counts as being written.

    Args:
        fd: descriptor of the file.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def locks_work(folder: Path) -> bool:
    """Return whether files in a folder can be locked.

    NFS without lock daemon, some Lustre mounts and some FUSE systems cannot lock files.
    """
    with tempfile.TemporaryFile(dir=folder) as stream:
        return try_lock(stream.fileno())


def _checksum(key: bytes, payload: bytes) -> bytes:
    state = hashlib.blake2b(key, digest_size=16)
    state.update(payload)
    return state.digest()
