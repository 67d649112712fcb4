"""The store: finished units in append-only segment files, shared by checkouts and runs.

A record is a fixed head (magic, unit key, length, checksum) and its payload. Each run writes a segment of its own,
under a lock, so that runs never meet in one file; a tail torn by a kill is cut at the next open.
"""

import fcntl
import hashlib
import os
import struct
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import platformdirs

HEAD = struct.Struct(">4s32sQ16s")
MAGIC = b"erc1"
Place = tuple[Path, int, int, bytes]  # segment, offset and length of the payload, checksum
GROUP_RECORDS = 256
GROUP_SECONDS = 2.0


def default_store() -> Path:
    """Where the store lies: ERCACHE_STORE, or the user's cache folder."""
    given = os.environ.get("ERCACHE_STORE")
    return Path(given) if given else platformdirs.user_cache_path("ercache") / "store"


class Store:
    """Unit key (hex sha256) -> payload. Use as a context manager.

    Args:
        folder: created when missing.
        on_commit: called around each group commit with True before and False after it.
    """

    def __init__(self, folder: Path, on_commit: Callable[[bool], None] = lambda _: None) -> None:
        self.folder = folder
        self._on_commit = on_commit
        self._places: dict[str, list[Place]] = {}
        self._fd: int | None = None
        self._own: Path | None = None
        self._end = 0
        self._waiting: list[tuple[str, bytes]] = []
        self._last = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        for segment in sorted(folder.glob("*.seg")):
            self._index(segment)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> bytes | None:
        """The payload, or None when the key is unknown or all its records are damaged."""
        for waiting, payload in self._waiting:
            if waiting == key:
                return payload
        for segment, offset, length, checksum in self._places.get(key, ()):
            with segment.open("rb") as stream:
                stream.seek(offset)
                payload = stream.read(length)
            if _checksum(key, payload) == checksum:
                return payload
        return None

    def put(self, key: str, payload: bytes) -> None:
        """Append a record; it is on disk after the next group commit."""
        self._waiting.append((key, payload))
        if len(self._waiting) >= GROUP_RECORDS or time.monotonic() - self._last >= GROUP_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write the waiting records and force them to the disk."""
        self._last = time.monotonic()
        if not self._waiting:
            return
        self._on_commit(True)
        segment, fd = self._open_own()
        for key, payload in self._waiting:
            checksum = _checksum(key, payload)
            _write(fd, HEAD.pack(MAGIC, bytes.fromhex(key), len(payload), checksum) + payload)
            place = (segment, self._end + HEAD.size, len(payload), checksum)
            self._places.setdefault(key, []).append(place)
            self._end += HEAD.size + len(payload)
        os.fsync(fd)
        self._waiting.clear()
        self._on_commit(False)

    def close(self) -> None:
        """Commit and release the segment."""
        self.commit()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_own(self) -> tuple[Path, int]:
        if self._fd is None or self._own is None:
            self._own = self.folder / f"{uuid.uuid4().hex}.seg"
            self._fd = os.open(self._own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self._own, self._fd

    def _index(self, segment: Path) -> None:
        with segment.open("r+b") as stream:
            end = self._scan(stream, segment, 0)
            if end < os.fstat(stream.fileno()).st_size and _lock(stream.fileno()):
                # The writer may have gone on before it let go of the lock: look again before cutting.
                end = self._scan(stream, segment, end)
                stream.truncate(end)

    def _scan(self, stream: BinaryIO, segment: Path, offset: int) -> int:
        """Note the records from an offset on; where the last whole one ends. A damaged head is skipped."""
        size = os.fstat(stream.fileno()).st_size
        end = offset
        while offset + HEAD.size <= size:
            stream.seek(offset)
            magic, key, length, checksum = HEAD.unpack(stream.read(HEAD.size))
            if magic == MAGIC and offset + HEAD.size + length <= size:
                self._places.setdefault(key.hex(), []).append((segment, offset + HEAD.size, length, checksum))
                offset = end = offset + HEAD.size + length
                continue
            stream.seek(offset + 1)
            ahead = stream.read().find(MAGIC)
            if ahead < 0:
                break
            offset += 1 + ahead
        return end


def _lock(fd: int) -> bool:
    """Whether nobody is writing the segment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checksum(key: str, payload: bytes) -> bytes:
    return hashlib.blake2b(bytes.fromhex(key) + payload, digest_size=16).digest()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
