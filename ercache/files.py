"""Files that appear complete or not at all, whatever happens to the process or the disk that writes them."""

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

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path, needs: int | None = None) -> Iterator[Path]:
    """A temporary path to write to; its file takes the place of `path` at the end, on disk, or is removed.

    Args:
        needs: bytes that the file will have, where known; a full disk is told with it.

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
    """Writing into a folder; a full disk, quota or limit on file sizes is told with what is needed.

    Raises:
        WorkError: there is no room left.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 tells by a RuntimeError that it could not close its file
        full = _full(error)
        if full is None:
            raise
        needed = f"{needs / 1e6:,.1f} MB are needed there, " if needs is not None else ""
        free = shutil.disk_usage(folder).free / 1e6 if folder.is_dir() else 0.0
        raise WorkError(
            f"{folder}: no room to write ({needed}{free:,.1f} MB are free on its disk; {os.strerror(full.errno or 0)})",
            hint="finished work is kept: make room (`ercache cache gc` lists what the store can spare) and run again",
        ) from error


def reserve_space(path: Path, size: int) -> None:
    """Make sure that a file can grow to a size, by giving it that size where its file system can.

    NFS before 4.2, ZFS before 2.2 and many FUSE mounts cannot: there the free space is looked at instead.

    Raises:
        OSError: there is no room; the file is as long as before, or absent as before but for its name.
    """
    # In append mode glibc, too, says that it cannot, rather than write into every block of the file.
    with path.open("ab") as stream:
        if not _allocated(stream.fileno(), size) and shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _allocated(handle: int, size: int) -> bool:
    """Whether the file has its room now; an error only when there is none."""
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
    """Force the names in a folder to the disk, so that a power cut cannot undo a replacement, where it can be done."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be written and not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.EBADF,
            errno.ENOTSUP,
        ):  # CIFS and FUSE mounts have no such call
            raise
    finally:
        os.close(handle)


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that there is no room, rather than no right."""
    return error.errno in _FULL


def _full(error: BaseException | None) -> OSError | None:
    """What says that there is no room: the error itself, or the one that it came from."""
    while error is not None and not (isinstance(error, OSError) and error.errno in _FULL):
        error = error.__cause__ or error.__context__
    return error


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside a path; DVC would take it for a part of the folder."""
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
    """A temporary sibling to fill; it takes the target's place when the block ends without an error."""
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
    """JSON for people and programs: sorted keys, one value a line."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A csv file with a header."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
