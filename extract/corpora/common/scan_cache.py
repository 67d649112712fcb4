"""The scan cache: facts about media files from earlier scans, so that unchanged files are not read again.

The scan cache is a database in ercache's store (the folder ERCACHE_STORE, or one in the user's cache folder). It holds
one entry per media file, under the full path of the file. An entry is valid as long as the file keeps its size, times
and inode. If the database is lost, the next scan reads every file again.
"""

import fcntl
import os
import sqlite3
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from ercache.errors import UsageError
from ercache.notices import notify_once
from ercache.paths import default_store, store_places

FILE: Final = "looks.sqlite"
# A file may be rewritten within one tick of its clock without a new time, so very young files are not cached.
SETTLED_NS: Final = 2_000_000_000  # ns
COMMIT_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 30.0  # how long to wait for another scan that is writing


@dataclass(frozen=True)
class FileStamp:
    """Path of a file, with the properties that show whether it has changed: size, times (nanoseconds) and inode."""

    path: str
    size: int
    modified: int
    changed: int
    inode: int

    @property
    def is_settled(self) -> bool:
        """Whether the file was last changed more than two seconds ago. Facts of younger files are not cached.

        Two changes shortly after each other may leave the same modification time, so the second one would not show.
        """
        return time.time_ns() - self.modified > SETTLED_NS


def file_stamp(file: Path) -> FileStamp | None:
    """Return the stamp (size, times, inode) of a file; None if it is absent, empty or not a regular file."""
    try:
        facts = file.stat()
    except OSError:  # the inspection itself reports what is wrong
        return None
    if not stat.S_ISREG(facts.st_mode) or facts.st_size == 0:
        return None
    times = facts.st_mtime_ns, facts.st_ctime_ns
    return FileStamp(os.fspath(file), facts.st_size, *times, facts.st_ino)


class ScanCache:
    """Stores on disk the facts about each media file, as a text that is valid until the file changes.

    Use it as a context manager. Several scans may use the same database at once.

    Args:
        version: version of the code that inspects files; entries of other versions are ignored.
        folder: folder of the database, created when missing. None for ercache's store, or for the user's cache folder
            if the store is not writable.
    """

    def __init__(self, version: str, folder: Path | None = None) -> None:
        self._version = version
        self._file = (folder or default_store()) / FILE
        self._database = self._open(folder)
        self._waiting: list[tuple[bytes, str, str]] = []
        self._last = time.monotonic()

    def get(self, stamp: FileStamp) -> str | None:
        """Return the facts that an earlier scan stored for a file, as a text.

        None if there are no such facts, or if the file has changed since then.
        """
        if self._database is None:
            return None
        query = "SELECT state, text FROM looks WHERE path = ?"
        row = self._database.execute(query, (os.fsencode(stamp.path),)).fetchone()
        return row[1] if row is not None and row[0] == self._state(stamp) else None

    def put(self, stamp: FileStamp, text: str) -> None:
        """Store the facts about a file, as a text. Nothing is stored if the file has just been changed.

        Texts are collected and written to disk about every two seconds, and when the context manager ends.
        """
        if self._database is None or not stamp.is_settled:
            return
        self._waiting.append((os.fsencode(stamp.path), self._state(stamp), text))
        if time.monotonic() - self._last > COMMIT_SECONDS:
            self._commit()

    def __enter__(self) -> "ScanCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commit()
        if self._database is not None:
            self._database.close()

    def _commit(self) -> None:
        """Write all waiting entries to the database at once, so that it is locked only for a short time."""
        self._last = time.monotonic()
        if self._database is None or not self._waiting:
            return
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", self._waiting)
        except sqlite3.Error as error:  # locked for long, or a full disk: the scan goes on
            notify_once(
                f"note: {self._file} was not written ({error}); the next scan inspects these files again"
            )
        self._waiting.clear()

    def _state(self, stamp: FileStamp) -> str:
        return f"{self._version} {stamp.size} {stamp.modified} {stamp.changed} {stamp.inode}"

    def _open(self, folder: Path | None) -> sqlite3.Connection | None:
        try:
            places = store_places(folder or default_store())
            if places.note:
                notify_once(places.note)
            self._file = places.write / FILE
            if not _locks_work(places.write):
                raise OSError(0, "its file system has no locks")  # sqlite would wait for a lock and then fail
            return _connect(self._file)
        except UsageError as error:
            notify_once(f"note: {error.message}; every file is inspected, and the scan cache is not written")
            return None
        except (OSError, sqlite3.OperationalError) as error:  # a lock that stays, a failing disk
            why = error.strerror if isinstance(error, OSError) else error
            notify_once(f"note: {self._file} cannot be used ({why}); every file is inspected")
            return None
        except sqlite3.DatabaseError:  # damaged: create it anew
            self._file.unlink(missing_ok=True)
            return _connect(self._file)


def _locks_work(folder: Path) -> bool:
    """Return whether the file system of a folder supports the file locks that an sqlite database needs."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=WAIT_SECONDS)
    try:
        database.execute("CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, state TEXT, text TEXT)")
        database.execute("SELECT path, state, text FROM looks LIMIT 1").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database
