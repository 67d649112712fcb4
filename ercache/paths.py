"""Where what outlives a run lies on this machine: the store that was asked for, or the user's own cache folder.

A store may be somebody else's, filled for a whole group: it is read then, and what is new goes to the user's own.
"""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ercache.errors import UsageError
from ercache.files import is_disk_full
from ercache.notices import notify_once

ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)  # what a file or folder of somebody else answers


@dataclass(frozen=True)
class StorePlaces:
    """Where finished units are looked for, and where new ones go.

    Attributes:
        read: folders, the one that was asked for first.
        note: one line for people where it is not as they asked; else empty.
    """

    read: tuple[Path, ...]
    write: Path
    note: str = ""


def user_folder() -> Path:
    """The folder of this user on this machine that is ours."""
    return platformdirs.user_cache_path("ercache")


def default_store() -> Path:
    """Where the store lies: ERCACHE_STORE, or the user's cache folder."""
    given = os.environ.get("ERCACHE_STORE")
    return Path(given).expanduser() if given else user_folder() / "store"


def store_places(store: Path) -> StorePlaces:
    """Where to read and write finished units; the folder to write to is made.

    Raises:
        UsageError: neither the store nor the user's cache folder can be written.
    """
    own = user_folder() / "store"
    why = why_not_writable(store)
    if why is None:
        return StorePlaces((store,), store)
    why_not_own = why if own == store else why_not_writable(own)
    if why_not_own is not None:
        raise UsageError(
            f"the store {store} cannot be written ({why})"
            + ("" if own == store else f", nor can {own} ({why_not_own})"),
            hint="set ERCACHE_STORE to a folder that you may write",
        )
    note = f"note: the store {store} cannot be written ({why}); it is read, and new results go to {own}"
    return StorePlaces((store, own), own, note)


def writable(folder: Path, own: str) -> Path:
    """A folder, or another one in the user's cache folder where it cannot be written; it is made.

    Args:
        own: where in the user's cache folder.

    Raises:
        UsageError: neither can be written.
    """
    why = why_not_writable(folder)
    if why is None:
        return folder
    other = user_folder() / own
    if why_not_writable(other) is not None:
        raise UsageError(
            f"{folder} cannot be written ({why}), nor can {other}",
            hint="set ERCACHE_STORE to a folder that you may write",
        )
    notify_once(f"note: {folder} cannot be written ({why}); {other} is used instead")
    return other


def why_not_writable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, which is made if need be; None where something can.

    A disk that is full is no such reason: whoever writes there says how much is needed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # rights alone do not tell: mounts, and the root of NFS
    except OSError as error:
        return None if is_disk_full(error) else error.strerror or str(error)
    return None
