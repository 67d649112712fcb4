"""The listing of a corpus folder, and the one way to read a table or transcript in it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ercache.errors import CorpusError
from ercache.manifest import MediaRef, Problem
from ercache.reasons import Missing, Reason
from extract.media.files import check_file

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".7z", ".rar")
# Left by macOS and Windows. Names with `._` end in .mp4, .wav or .csv like the file they accompany.
SYSTEM_FILES = ("._", ".DS_Store", "Thumbs.db")
# The reasons describe media files; these are the messages for tables and transcripts. Manifests contain them.
REMEDIES: Final = {
    Reason.OUTSIDE_ROOT: "leads out of the corpus root; put the file itself there",
    Reason.ABSENT: "is a link that leads nowhere; mend it or take it away",
    Reason.NOT_A_FILE: "is a folder, a pipe or another special file; take it away",
    Reason.GIT_LFS_POINTER: "is a Git LFS pointer; fetch it with `git lfs pull`",
    Reason.UNREADABLE: "cannot be opened; see its permissions",
}


@dataclass(frozen=True)
class FolderListing:
    """All files below a root, as paths relative to it with forward slashes, shallowest first.

    Attributes:
        root: the root.
        files: the paths.
        not_utf8: escaped names that are not UTF-8. No manifest or table can hold them, so they are not in `files`.
    """

    root: Path
    files: tuple[str, ...]
    not_utf8: tuple[str, ...] = ()

    def files_named(self, name: str) -> list[str]:
        """Return files with a name in any case, at any depth: shallowest first, then exact case first."""
        wanted = name.casefold()
        found = [path for path in self.files if path.rpartition("/")[2].casefold() == wanted]
        return sorted(found, key=lambda path: (path.count("/"), path.rpartition("/")[2] != name))

    def files_in(self, folder: str) -> list[str]:
        """Return files directly inside folders with a name in any case, at any depth."""
        wanted = folder.casefold()
        return [
            path for path in self.files if path.rpartition("/")[0].rpartition("/")[2].casefold() == wanted
        ]

    def archives(self) -> list[str]:
        """Return archives that may still have to be unpacked."""
        return [path for path in self.files if path.lower().endswith(ARCHIVES)]

    def notes(self) -> list[Problem]:
        """Return problems of the listing itself, whatever the corpus."""
        if not self.not_utf8:
            return []
        told = f"{counted(len(self.not_utf8), 'file')} left out, whose names are no UTF-8: {list_some(self.not_utf8)}"
        return [Problem(None, "note", "name_not_utf8", f"{told}; rename to use")]


def list_folder(root: Path) -> FolderListing:
    """List a corpus folder. Links to folders are followed one step, so that they are listed (and later rejected).

    Raises:
        CorpusError: the root is no folder or cannot be listed.
    """
    if not root.is_dir():
        raise CorpusError(
            f"the corpus root is not a folder: {root}", hint="give the folder that you unpacked"
        )
    faults: list[str] = []
    files: list[str] = []
    for top, folders, names in os.walk(root, onerror=lambda error: faults.append(_words(error))):
        folders[:] = sorted(name for name in folders if name != "__MACOSX" and not name.startswith("."))
        place = Path(top).relative_to(root)
        files += [(place / name).as_posix() for name in names if not name.startswith(SYSTEM_FILES)]
        for folder in folders:
            if (Path(top) / folder).is_symlink():
                files += _linked(root, place / folder)
    if faults:
        raise CorpusError(
            f"{root} cannot be listed", details=faults, hint="correct the permissions of these folders"
        )
    files.sort(key=lambda path: (path.count("/"), path))
    not_utf8 = [path for path in files if not _is_utf8(path)]
    if not_utf8:
        files = [path for path in files if _is_utf8(path)]
    return FolderListing(root, tuple(files), tuple(map(escaped, not_utf8)))


def _words(error: OSError) -> str:
    return escaped(f"{error.filename}: {error.strerror}")


def _is_utf8(path: str) -> bool:
    """Whether a name is valid text. Bytes that are not UTF-8 appear as lone surrogates, which cannot be encoded."""
    return path.isascii() or path == path.encode("utf-8", "ignore").decode("utf-8")


def escaped(path: str) -> str:
    """Return a printable name: bytes that are not UTF-8 are written as `\\xfc`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _linked(root: Path, place: Path) -> Iterable[str]:
    folder = root / place
    names = os.listdir(folder) if folder.is_dir() else []
    return [(place / name).as_posix() for name in names if not name.startswith(SYSTEM_FILES)]


def read_content(root: Path, path: str) -> bytes:
    """Read a table or transcript below a root. Links out of the root are not followed; a pipe is never opened.

    Returns:
        The bytes; an empty file gives no bytes.

    Raises:
        Missing: with OUTSIDE_ROOT, ABSENT, NOT_A_FILE, GIT_LFS_POINTER or UNREADABLE.
    """
    try:
        return check_file(root, MediaRef(path)).read_bytes()
    except Missing as missing:
        if missing.reason is Reason.EMPTY_FILE:  # the caller reports what the file lacks
            return b""
        raise
    except OSError as error:
        raise Missing(Reason.UNREADABLE, error.strerror or "") from error


def describe_unreadable(path: str, missing: Missing) -> str:
    """Return a message that says why `read_content` rejected a file, and what to do."""
    return f"{path}: {REMEDIES.get(missing.reason, missing.reason.meaning)}"


def counted(number: int, noun: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def list_some(names: Iterable[str], most: int = 8) -> str:
    """Return a few names for a message, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
