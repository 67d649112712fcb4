"""Folders on this machine that are kept between runs: the store of finished results, and the user's cache folder.

A finished result is one feature of one utterance. A research group may share a store that some members cannot write to.
For them, the store is only read, and new results go to the user's own cache folder.
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

ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)  # no right to write, or a read-only disk


@dataclass(frozen=True)
class StorePlaces:
    """Folders of the store of finished results.

    Attributes:
        read: folders in which finished results are looked up, the configured folder first.
        write: folder for new results.
        note: one line that tells the user that `write` is not the configured folder; "" if it is.
    """

    read: tuple[Path, ...]
    write: Path
    note: str = ""


def user_folder() -> Path:
    """Path of the folder in which ercache keeps this user's own results, such as `~/.cache/ercache` on Linux."""
    return platformdirs.user_cache_path("ercache")


def default_store() -> Path:
    """Path of the store of finished results.

    It is the value of the environment variable ERCACHE_STORE. If the variable is not set, it is the folder `store` in
    the user's cache folder.
    """
    given = os.environ.get("ERCACHE_STORE")
    return Path(given).expanduser() if given else user_folder() / "store"


def store_places(store: Path) -> StorePlaces:
    """Decide in which folders finished results are looked up, and to which folder new ones are written.

    The folder for writing is `store`. If the user cannot write there, it is a folder in the user's own cache folder.
    The chosen folder is created.

    Args:
        store: folder that the user or the research group has configured as the store.

    Raises:
        UsageError: neither the store nor the user's cache folder is writable.
    """
    own = user_folder() / "store"
    why = why_not_writable(store)
    if why is None:
        return StorePlaces((store,), store)
    why_not_own = why if own == store else why_not_writable(own)
    if why_not_own is not None:
        raise UsageError(
            f"the store {store} is not writable ({why})"
            + ("" if own == store else f", and neither is {own} ({why_not_own})"),
            hint="set ERCACHE_STORE to a writable folder",
        )
    note = f"note: the store {store} is not writable ({why}); it is only read, and new results go to {own}"
    return StorePlaces((store, own), own, note)


def writable(folder: Path, own: str) -> Path:
    """Return a folder that can be written to. It is created if absent.

    If the preferred folder is not writable, a folder in the user's cache folder is used instead, and a note is printed.

    Args:
        folder: the preferred folder.
        own: path of the folder to use instead, relative to the user's cache folder.

    Returns:
        The writable folder.

    Raises:
        UsageError: neither folder is writable.
    """
    why = why_not_writable(folder)
    if why is None:
        return folder
    other = user_folder() / own
    if why_not_writable(other) is not None:
        raise UsageError(
            f"{folder} is not writable ({why}), and neither is {other}",
            hint="set ERCACHE_STORE to a writable folder",
        )
    notify_once(f"note: {folder} is not writable ({why}); {other} is used instead")
    return other


def why_not_writable(folder: Path) -> str | None:
    """Find out why this user cannot write to a folder. The folder is created if absent.

    A full disk is not reported here, but by the code that writes, because it knows how much space it needs.

    Returns:
        The error text of the operating system, or None if the folder is writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(
            dir=folder
        ).close()  # permission bits do not show read-only mounts, nor NFS that maps root to nobody
    except OSError as error:
        return None if is_disk_full(error) else error.strerror or str(error)
    return None
