"""The store: finished results on disk, shared by all runs and checkouts of the project.

One result is one feature of one input, or the face detections in one picture. Results are records in segment files,
which only grow. Each run writes its own segment under a lock, so two runs never write the same file. A kill or a full
disk can leave an incomplete record at the end of a segment. This record is removed later; if the file system has no
locks, or the segment belongs to another user, it stays and is ignored. The garbage collection (`gc`) may replace
segments that no run writes. A run that finds a segment gone then looks for its records in newer segments.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ercache.errors import WorkError
from ercache.files import full_disk_as_error
from ercache.notices import notify_once
from ercache.paths import ACCESS_ERRORS, default_store, store_places
from extract.engine.segment import HEAD, append, payload_at, record_heads, segments, try_lock

GROUP_RECORDS = 256
GROUP_BYTES = 32 << 20  # records waiting for a commit are in memory
GROUP_SECONDS = (
    2.0  # time between commits: a kill costs this much finished work, besides the unfinished shards
)
RecordPlace = tuple[Path, int]  # segment, offset of the record's head

__all__ = ["Store", "default_store"]


class Store:
    """Keeps finished results on disk: maps a key (hex sha256) to a result (bytes). Use it as a context manager.

    Args:
        folder: folder of the store, created when missing. If it is not writable, new records go to the user's own cache
            folder.
        on_commit: function that is called with True before and with False after each commit (write to disk).

    Attributes:
        folder: the folder to which new results are written.

    Raises:
        UsageError: neither the given folder nor the user's own cache folder is writable.
    """

    def __init__(self, folder: Path, on_commit: Callable[[bool], None] = lambda _: None) -> None:
        places = store_places(folder)
        if places.note:
            notify_once(places.note)
        self.folder, self._folders = places.write, places.read
        self._on_commit = on_commit
        self._places: dict[bytes, tuple[RecordPlace, ...]] = {}
        self._segments: set[Path] = set()
        self._fd: int | None = None
        self._own: Path | None = None
        self._end = 0
        self._waiting: dict[str, bytes] = {}
        self._waiting_bytes = 0
        self._last = time.monotonic()
        self._find_segments()

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> bytes | None:
        """Return the stored result with a key; None when the key is unknown or all records with it are damaged."""
        if key in self._waiting:
            return self._waiting[key]
        name = bytes.fromhex(key)
        payload = self._read(name)
        if payload is None and name in self._places and self._find_segments():
            payload = self._read(name)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Add a result. It waits in memory until enough results wait; then all of them are written to disk (a commit).

        Args:
            key: key of the result.
            payload: the result as bytes.

        Raises:
            WorkError: the results had to be written now, and the disk is full.
        """
        self._waiting[key] = payload
        self._waiting_bytes += len(payload)
        if len(self._waiting) >= GROUP_RECORDS or self._waiting_bytes >= GROUP_BYTES:
            self.commit()

    def commit_if_due(self) -> None:
        """Write the waiting results to disk if the last write is at least 2 seconds ago.

        Call this when the next result may take long, so that a kill would not cost the waiting ones.

        Raises:
            WorkError: the disk is full.
        """
        if time.monotonic() - self._last >= GROUP_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write the waiting results to disk.

        Raises:
            WorkError: the disk is full. Results that were written completely are kept, the other waiting ones are lost.
        """
        self._last = time.monotonic()
        if not self._waiting:
            return
        self._on_commit(True)
        try:
            with full_disk_as_error(self.folder, self._waiting_bytes + HEAD.size * len(self._waiting)):
                segment, fd = self._open_own()
                for key in list(self._waiting):
                    self._append(segment, fd, bytes.fromhex(key), self._waiting[key])
                    del self._waiting[key]
                os.fsync(fd)
        except WorkError:
            self._waiting.clear()  # another attempt when the store is closed would fail in the same way
            raise
        finally:
            self._waiting_bytes = sum(map(len, self._waiting.values()))
            self._on_commit(False)

    def close(self) -> None:
        """Write the waiting results to disk and close the segment file of this run."""
        try:
            self.commit()
        finally:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, key: bytes) -> bytes | None:
        for segment, offset in self._places.get(key, ()):
            try:
                with segment.open("rb") as stream:
                    payload = payload_at(stream, offset, key)
            except (FileNotFoundError, PermissionError):
                continue  # a garbage collection replaced it; its records are in another segment
            if payload is not None:
                return payload
        return None

    def _append(self, segment: Path, fd: int, key: bytes, payload: bytes) -> None:
        try:
            append(fd, key, payload)
        except BaseException:  # a full disk or Ctrl-C: no record may follow an incomplete one
            os.ftruncate(fd, self._end)
            os.lseek(fd, self._end, os.SEEK_SET)
            raise
        self._index_record(key, (segment, self._end))
        self._end += HEAD.size + len(payload)

    def _index_record(self, key: bytes, place: RecordPlace) -> None:
        self._places[key] = (*self._places.get(key, ()), place)

    def _open_own(self) -> tuple[Path, int]:
        while self._fd is None or self._own is None:
            self._own = self.folder / f"{uuid.uuid4().hex}.seg"
            fd = os.open(self._own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with contextlib.suppress(OSError):  # without locks, nothing is cut or collected either
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._fd, self._end = fd, 0
                self._segments.add(self._own)
            else:  # a garbage collection removed the empty file before it was locked
                os.close(fd)
        return self._own, self._fd

    def _find_segments(self) -> bool:
        """Look for new segment files and read the keys of their results; return whether there were new files."""
        found = [segment for folder in self._folders for segment in segments(folder)]
        new = [segment for segment in found if segment not in self._segments]
        closed: list[Path] = []
        for segment in new:
            try:
                self._index(segment)
            except FileNotFoundError:
                continue  # replaced since the folder was listed; it will not come back
            except PermissionError:
                closed.append(segment)
            self._segments.add(segment)
        if closed:
            notify_once(
                f"note: {len(closed)} segments of the store {closed[0].parent} cannot be read and are ignored"
            )
        return bool(new)

    def _index(self, segment: Path) -> None:
        with segment.open("rb") as stream:
            end = self._index_records(stream, segment, 0)
            torn = end < os.fstat(stream.fileno()).st_size
        if torn:
            self._truncate_torn_tail(segment, end)

    def _truncate_torn_tail(self, segment: Path, end: int) -> None:
        """Remove an incomplete record at the end of a segment file.

        Nothing happens if this user may not change the file, or if a run writes it.
        """
        try:
            stream = segment.open("r+b")
        except OSError as error:
            if error.errno in ACCESS_ERRORS:
                return
            raise
        with stream:
            if try_lock(stream.fileno()):
                # The writer may have written more before it released the lock: index again before cutting.
                stream.truncate(self._index_records(stream, segment, end))

    def _index_records(self, stream: BinaryIO, segment: Path, end: int) -> int:
        """Remember the place of each record in a segment file.

        Args:
            stream: the open segment file.
            segment: path of the file.
            end: byte position at which to begin.

        Returns:
            Byte position at which the last complete record ends.
        """
        for offset, key, length in record_heads(stream, end):
            self._index_record(key, (segment, offset))
            end = offset + HEAD.size + length
        return end
