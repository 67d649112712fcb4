"""Checks before a media file is opened: it lies inside the corpus, exists, is a regular file and is not empty."""

import errno
import stat
from pathlib import Path
from typing import Final

from ercache.manifest import MediaRef, leaves_root
from ercache.reasons import Missing, Reason

# No such file, a name that no file can have, or a cycle of symbolic links.
_ABSENT_ERRNOS: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
LFS_POINTER: Final = b"version https://git-lfs"


def check_file(root: Path, ref: MediaRef) -> Path:
    """Return the resolved path of a media file of a corpus, after checking that the file may be opened.

    Args:
        root: folder of the corpus.
        ref: the file: its path relative to the root.

    Raises:
        Missing: the file is outside the corpus, absent, not a regular file, empty or a Git LFS pointer, or the system
            refuses access.
    """
    path = locate(root, ref)
    check_openable(path)
    return path


def locate(root: Path, ref: MediaRef) -> Path:
    """Return the path of a media file of a corpus, with symbolic links resolved. The file need not exist.

    Args:
        root: folder of the corpus.
        ref: the file: its path relative to the root.

    Raises:
        Missing: the path leads out of the corpus (reason `OUTSIDE_ROOT`), or it cannot be resolved, for example because
            two links refer to each other (reason `ABSENT`).
    """
    if leaves_root(ref.path):
        raise Missing(Reason.OUTSIDE_ROOT, ref.path)
    try:
        path = (root / ref.path).resolve()
        inside = path.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of symbolic links, a name that is too long
        raise Missing(Reason.ABSENT, error_text(error)) from error
    if not inside:
        raise Missing(Reason.OUTSIDE_ROOT, f"{ref.path} is a link to a place outside the corpus root")
    return path


def check_openable(path: Path) -> None:
    """Check that a path leads to a regular file that can be read and is not empty. Special files are never opened.

    Raises:
        Missing: the file is absent, not a regular file, empty or a Git LFS pointer, or the system refuses access.
    """
    try:
        facts = path.stat()
    except OSError as error:
        reason = Reason.ABSENT if error.errno in _ABSENT_ERRNOS else Reason.FAULT
        raise Missing(reason, error_text(error)) from error
    if not stat.S_ISREG(facts.st_mode):
        raise Missing(Reason.NOT_A_FILE, path.name)
    if facts.st_size == 0:
        raise Missing(Reason.EMPTY_FILE, path.name)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(LFS_POINTER))
    except OSError as error:
        raise Missing(Reason.FAULT, error_text(error)) from error
    if head == LFS_POINTER:
        raise Missing(Reason.GIT_LFS_POINTER, path.name)


def ffmpeg_url(path: Path) -> str:
    """Return a path as a URL for FFmpeg, in which no character of the path has a special meaning."""
    return f"file:{path.absolute()}"


def error_text(error: BaseException) -> str:
    """Return the message of a system or library error, without paths of this machine."""
    message = getattr(error, "strerror", None)
    if message is None and not isinstance(error, OSError):
        message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
