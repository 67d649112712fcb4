"""Write files and folders atomically: a crash or a full disk leaves the old or the complete new version, never half."""

import csv
import errno
import glob
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ercache.errors import WorkError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path, needs: int | None = None) -> Iterator[Path]:
    """Write a file atomically: it appears complete or not at all.

    Write to the temporary path inside the `with` block. When the block ends without an error, the temporary file is
    flushed to disk and replaces `path`. After an error, the temporary file is removed.

    Args:
        needs: expected size in bytes, if known. It appears in the message about a full disk.

    Yields:
        The temporary path.

    Raises:
        WorkError: the disk is full.
    """
    with full_disk_as_error(path.parent, needs):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
            flush_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_as_error(folder: Path, needs: int | None = None) -> Iterator[None]:
    """Context manager: replace the system error about a full disk by a clear `WorkError`.

    An exhausted quota and a file size limit count as a full disk. Other errors pass unchanged.

    Args:
        folder: folder that the `with` block writes to.
        needs: number of bytes that the `with` block needs, if known.

    Raises:
        WorkError: no space is left.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 raises a RuntimeError if it cannot close its file
        cause = _disk_full_cause(error)
        if cause is None:
            raise
        needed = f"{needs / 1e6:,.1f} MB needed, " if needs is not None else ""
        free = shutil.disk_usage(folder).free / 1e6 if folder.is_dir() else 0.0
        raise WorkError(
            f"{folder}: no space left ({needed}{free:,.1f} MB free on this disk; {os.strerror(cause.errno or 0)})",
            hint="free some space and run again; finished work is kept (`ercache cache gc` shows what it can free)",
        ) from error


def reserve_space(path: Path, size: int) -> None:
    """Make sure that a file can grow to `size` bytes, by allocating disk space for it.

    NFS before 4.2, ZFS before 2.2 and many FUSE mounts cannot allocate space. On these, only the free space is checked.

    Args:
        path: the file; it is created if absent.
        size: number of bytes.

    Raises:
        OSError: there is not enough space. The content of the file is unchanged.
    """
    # In append mode, glibc reports a file system that cannot allocate, instead of writing into every block.
    with path.open("ab") as stream:
        if not _allocated(stream.fileno(), size) and shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _allocated(handle: int, size: int) -> bool:
    """Try to allocate disk space for an open file.

    Returns:
        True if the space is allocated, False if the file system cannot allocate space.

    Raises:
        OSError: there is not enough space.
    """
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(handle, 0, max(1, size))
    except OSError as error:
        if is_disk_full(error):
            raise
        return False
    return True


def flush_folder(folder: Path) -> None:
    """Flush the file names in a folder to disk, so that a renamed file stays renamed after a power cut.

    Nothing happens if the file system cannot do this or the folder is not readable.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder can be writable and not readable
        return
    try:
        os.fsync(handle)
    except OSError as error:
        # CIFS and FUSE mounts cannot flush folders.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def is_disk_full(error: OSError) -> bool:
    """Whether a system error means that no space is left: a full disk, an exhausted quota, or a file size limit."""
    return error.errno in _DISK_FULL


def _disk_full_cause(error: BaseException | None) -> OSError | None:
    """Find a system error about a full disk: `error` itself, or an error that caused it. None if there is none."""
    while error is not None and not (isinstance(error, OSError) and error.errno in _DISK_FULL):
        error = error.__cause__ or error.__context__
    return error


def remove_leftovers(path: Path) -> None:
    """Remove unfinished versions of `path` that killed processes left beside it. Otherwise DVC would track them."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        pid = leftover.name.rsplit(".", 1)[1]
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Write a folder atomically: it appears complete or not at all.

    Write to the temporary folder inside the `with` block. When the block ends without an error, the temporary folder
    replaces `target`. After an error, the temporary folder is removed and `target` stays unchanged.

    Args:
        target: the folder to write. An existing folder is replaced.

    Yields:
        The temporary folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for end in ("new", "old"):
        remove_leftovers(target.with_name(f"{target.name}.{end}"))
    fresh, old = (target.with_name(f".{target.name}.{end}.{os.getpid()}") for end in ("new", "old"))
    fresh.mkdir()
    try:
        yield fresh
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
    finally:
        for folder in (fresh, old):
            if folder.exists():
                shutil.rmtree(folder)


def write_json(path: Path, value: Any) -> None:
    """Write a value to a JSON file with sorted keys, one value per line."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a csv file: a line with the column names in `header`, then one line for each of `rows`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
