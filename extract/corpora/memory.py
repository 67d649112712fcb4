"""What earlier scans saw, so that a file that has not changed is not looked at again.

A database in the folder of the store, keyed by the file's full path; an entry holds as long as the file keeps its
size, its times and its inode. Losing it costs time and nothing else.
"""

import os
import sqlite3
import stat
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from extract.engine.store import default_store

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
        folder: created when missing; the store's by default.
    """

    def __init__(self, version: str, folder: Path | None = None) -> None:
        self._version = version
        self._file = (folder or default_store()) / FILE
        self._base = self._open()
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
        except (
            sqlite3.Error
        ) as error:  # locked for long, or a full disk: the scan goes on, the next one looks again
            warnings.warn(f"{self._file} was not written ({error})", stacklevel=3)
        self._waiting.clear()

    def _state(self, stamp: Stamp) -> str:
        return f"{self._version} {stamp.size} {stamp.modified} {stamp.changed} {stamp.inode}"

    def _open(self) -> sqlite3.Connection | None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return _connect(self._file)
        except (
            OSError,
            sqlite3.OperationalError,
        ) as error:  # a place that cannot be written, a lock that stays
            warnings.warn(f"{self._file} cannot be used ({error}); every file is looked at", stacklevel=3)
            return None
        except sqlite3.DatabaseError:  # damaged: it is made anew
            self._file.unlink(missing_ok=True)
            return _connect(self._file)


def _connect(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=WAIT_SECONDS)
    try:
        base.execute("CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, state TEXT, text TEXT)")
        base.execute("SELECT path, state, text FROM looks LIMIT 1").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base
