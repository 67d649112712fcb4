"""Which files may be opened: they lie inside the corpus, are regular files with bytes, and are there."""

import errno
import stat
from pathlib import Path
from typing import Final

from ercache.manifest import MediaRef, leaves_root
from ercache.reasons import Missing, Reason

# No such file, a name that no file can have, links that lead round in a circle.
_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
LFS_POINTER: Final = b"version https://git-lfs"


def check_file(root: Path, ref: MediaRef) -> Path:
    """Find a reference's file without following it out of the corpus, and see that it may be opened.

    Raises:
        Missing: OUTSIDE_ROOT, ABSENT, NOT_A_FILE, EMPTY_FILE, GIT_LFS_POINTER, or FAULT where the system refuses it.
    """
    path = locate(root, ref)
    check_bytes(path)
    return path


def locate(root: Path, ref: MediaRef) -> Path:
    """Where a reference leads, links followed.

    Raises:
        Missing: OUTSIDE_ROOT, or ABSENT when the links lead nowhere.
    """
    if leaves_root(ref.path):
        raise Missing(Reason.OUTSIDE_ROOT, ref.path)
    try:
        path = (root / ref.path).resolve()
        inside = path.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of symbolic links, a name that is too long
        raise Missing(Reason.ABSENT, words_of(error)) from error
    if not inside:
        raise Missing(Reason.OUTSIDE_ROOT, f"{ref.path} is a link to a place outside the corpus root")
    return path


def check_bytes(path: Path) -> None:
    """Refuse what is no media file before any decoder sees it; a pipe is never opened.

    Raises:
        Missing: ABSENT, NOT_A_FILE, EMPTY_FILE, GIT_LFS_POINTER, or FAULT where the system refuses it.
    """
    try:
        facts = path.stat()
    except OSError as error:
        reason = Reason.ABSENT if error.errno in _NOWHERE else Reason.FAULT
        raise Missing(reason, words_of(error)) from error
    if not stat.S_ISREG(facts.st_mode):
        raise Missing(Reason.NOT_A_FILE, path.name)
    if facts.st_size == 0:
        raise Missing(Reason.EMPTY_FILE, path.name)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(LFS_POINTER))
    except OSError as error:
        raise Missing(Reason.FAULT, words_of(error)) from error
    if head == LFS_POINTER:
        raise Missing(Reason.GIT_LFS_POINTER, path.name)


def location(path: Path) -> str:
    """A file's name as FFmpeg must be given it, so that no character of it has a meaning."""
    return f"file:{path.absolute()}"


def words_of(error: BaseException) -> str:
    """What the system or a library says of an error, without the machine's paths."""
    said = getattr(error, "strerror", None)
    if said is None and not isinstance(error, OSError):
        said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
