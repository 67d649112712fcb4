"""A corpus folder as it lies on disk: all its names, and the one way to read a table or transcript in it."""

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
# Left by macOS and Windows; the first kind ends in .mp4, .wav or .csv like the file it accompanies.
LITTER = ("._", ".DS_Store", "Thumbs.db")
# The vocabulary of reasons speaks of media; these are the words for tables and transcripts.
REMEDIES: Final = {
    Reason.OUTSIDE_ROOT: "leads out of the corpus root; put the file itself there",
    Reason.ABSENT: "is a link that leads nowhere; mend it or take it away",
    Reason.NOT_A_FILE: "is a folder, a pipe or another special file; take it away",
    Reason.GIT_LFS_POINTER: "is a Git LFS pointer; fetch it with `git lfs pull`",
    Reason.UNREADABLE: "cannot be opened; see its permissions",
}


@dataclass(frozen=True)
class Folder:
    """All files below a root, as paths with forward slashes relative to it, shallowest first.

    Attributes:
        unwritable: names that are no UTF-8, escaped; no manifest and no table can hold them, so they are no files.
    """

    root: Path
    files: tuple[str, ...]
    unwritable: tuple[str, ...] = ()

    def named(self, name: str) -> list[str]:
        """Files of a name in any case, at any depth; of equally deep ones, those in exactly this case come first."""
        wanted = name.casefold()
        found = [path for path in self.files if path.rpartition("/")[2].casefold() == wanted]
        return sorted(found, key=lambda path: (path.count("/"), path.rpartition("/")[2] != name))

    def inside(self, folder: str) -> list[str]:
        """Files that lie directly in a folder of that name in any case, at any depth."""
        wanted = folder.casefold()
        return [
            path for path in self.files if path.rpartition("/")[0].rpartition("/")[2].casefold() == wanted
        ]

    def archives(self) -> list[str]:
        """Files that have still to be unpacked."""
        return [path for path in self.files if path.lower().endswith(ARCHIVES)]

    def notes(self) -> list[Problem]:
        """What is to be told of the listing itself, whatever the corpus."""
        if not self.unwritable:
            return []
        told = f"{counted(len(self.unwritable), 'file')} left out, whose names are no UTF-8: {some(self.unwritable)}"
        return [Problem(None, "note", "name_not_utf8", f"{told}; rename to use")]


def list_folder(root: Path) -> Folder:
    """List a corpus folder; links to folders are followed one step, so that they are seen (and later refused).

    Raises:
        CorpusError: the root is no folder or cannot be listed.
    """
    if not root.is_dir():
        raise CorpusError(f"the corpus root is no folder: {root}", hint="give the folder that you unpacked")
    faults: list[str] = []
    files: list[str] = []
    for top, folders, names in os.walk(root, onerror=lambda error: faults.append(_words(error))):
        folders[:] = sorted(name for name in folders if name != "__MACOSX" and not name.startswith("."))
        place = Path(top).relative_to(root)
        files += [(place / name).as_posix() for name in names if not name.startswith(LITTER)]
        for folder in folders:
            if (Path(top) / folder).is_symlink():
                files += _linked(root, place / folder)
    if faults:
        raise CorpusError(
            f"{root} cannot be listed", details=faults, hint="mend the permissions of these folders"
        )
    files.sort(key=lambda path: (path.count("/"), path))
    unwritable = [path for path in files if not _writable(path)]
    if unwritable:
        files = [path for path in files if _writable(path)]
    return Folder(root, tuple(files), tuple(map(escaped, unwritable)))


def _words(error: OSError) -> str:
    return escaped(f"{error.filename}: {error.strerror}")


def _writable(path: str) -> bool:
    """Whether a name is text: bytes that are no UTF-8 come as lone surrogates, which nothing can write."""
    return path.isascii() or path == path.encode("utf-8", "ignore").decode("utf-8")


def escaped(path: str) -> str:
    """A name that any text can hold: bytes that are no UTF-8 stand as `\\xfc`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _linked(root: Path, place: Path) -> Iterable[str]:
    folder = root / place
    names = os.listdir(folder) if folder.is_dir() else []
    return [(place / name).as_posix() for name in names if not name.startswith(LITTER)]


def content_of(root: Path, path: str) -> bytes:
    """Bytes of a table or transcript below a root; a link out of it is not followed, a pipe is never opened.

    Raises:
        Missing: OUTSIDE_ROOT, ABSENT, NOT_A_FILE, GIT_LFS_POINTER or UNREADABLE; no bytes are a content, too.
    """
    try:
        return check_file(root, MediaRef(path)).read_bytes()
    except Missing as missing:
        if missing.reason is Reason.EMPTY_FILE:  # its reader tells what it lacks
            return b""
        raise
    except OSError as error:
        raise Missing(Reason.UNREADABLE, error.strerror or "") from error


def why_not(path: str, missing: Missing) -> str:
    """What is wrong with a table or transcript that `content_of` refused, and what to do."""
    return f"{path}: {REMEDIES.get(missing.reason, missing.reason.meaning)}"


def counted(number: int, noun: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Iterable[str], most: int = 8) -> str:
    """A few names for a message, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
