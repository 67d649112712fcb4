"""What earlier scans saw, so that a file that has not changed is not looked at again.

A database in the folder of the store, keyed by the file's full path; an entry holds as long as the file keeps its
size, its times and its inode. Losing it costs time and nothing else: where it cannot be kept, every file is looked at.
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
# A file may be rewritten within one tick of its clock without a new time; what is so young is not remembered.
SETTLED: Final = 2_000_000_000  # ns
COMMIT_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 30.0  # for another scan that is writing


@dataclass(frozen=True)
class Stamp:
    """What tells a file that has changed from one that has not; times in ns."""

    path: str
    size: int
    modified: int
    changed: int
    inode: int

    @property
    def settled(self) -> bool:
        """Whether a later change of the file is sure to change its times."""
        return time.time_ns() - self.modified > SETTLED


def stamp_of(file: Path) -> Stamp | None:
    """The stamp of a regular file that has bytes; None of anything else, which no decoder need look at."""
    try:
        facts = file.stat()
    except OSError:  # the look itself says what is wrong with it
        return None
    if not stat.S_ISREG(facts.st_mode) or facts.st_size == 0:
        return None
    times = facts.st_mtime_ns, facts.st_ctime_ns
    return Stamp(os.fspath(file), facts.st_size, *times, facts.st_ino)


class Memory:
    """Stamp -> text, on disk. Use as a context manager; several scans may use it at once.

    Args:
        version: of the look; entries of another one are not recalled.
        folder: created when missing; the store's by default, or the user's own where that one cannot be written.
    """

    def __init__(self, version: str, folder: Path | None = None) -> None:
        self._version = version
        self._file = (folder or default_store()) / FILE
        self._base = self._open(folder)
        self._waiting: list[tuple[bytes, str, str]] = []
        self._last = time.monotonic()

    def recall(self, stamp: Stamp) -> str | None:
        """What was kept for a file in exactly this state."""
        if self._base is None:
            return None
        query = "SELECT state, text FROM looks WHERE path = ?"
        row = self._base.execute(query, (os.fsencode(stamp.path),)).fetchone()
        return row[1] if row is not None and row[0] == self._state(stamp) else None

    def keep(self, stamp: Stamp, text: str) -> None:
        """Keep a text for a file in this state; on disk within about two seconds of work, or at the end."""
        if self._base is None or not stamp.settled:
            return
        self._waiting.append((os.fsencode(stamp.path), self._state(stamp), text))
        if time.monotonic() - self._last > COMMIT_SECONDS:
            self._commit()

    def __enter__(self) -> "Memory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commit()
        if self._base is not None:
            self._base.close()

    def _commit(self) -> None:
        """Write what waits, at once: the lock is not held between looks."""
        self._last = time.monotonic()
        if self._base is None or not self._waiting:
            return
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", self._waiting)
        except sqlite3.Error as error:  # locked for long, or a full disk: the scan goes on
            notify_once(
                f"note: {self._file} was not written ({error}); the next scan looks at these files again"
            )
        self._waiting.clear()

    def _state(self, stamp: Stamp) -> str:
        return f"{self._version} {stamp.size} {stamp.modified} {stamp.changed} {stamp.inode}"

    def _open(self, folder: Path | None) -> sqlite3.Connection | None:
        try:
            places = store_places(folder or default_store())
            if places.note:
                notify_once(places.note)
            self._file = places.write / FILE
            if not _locks_work(places.write):
                raise OSError(0, "its file system has no locks")  # sqlite would wait for them, and then fail
            return _connect(self._file)
        except UsageError as error:
            notify_once(f"note: {error.message}; every file is looked at, and nothing is remembered")
            return None
        except (OSError, sqlite3.OperationalError) as error:  # a lock that stays, a failing disk
            why = error.strerror if isinstance(error, OSError) else error
            notify_once(f"note: {self._file} cannot be used ({why}); every file is looked at")
            return None
        except sqlite3.DatabaseError:  # damaged: it is made anew
            self._file.unlink(missing_ok=True)
            return _connect(self._file)


def _locks_work(folder: Path) -> bool:
    """Whether files there can be locked in the way of sqlite."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _connect(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=WAIT_SECONDS)
    try:
        base.execute("CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, state TEXT, text TEXT)")
        base.execute("SELECT path, state, text FROM looks LIMIT 1").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base
