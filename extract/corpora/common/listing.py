"""List the files of a corpus folder, and read its tables and transcripts safely."""

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
    """All files below a root folder, as relative paths with forward slashes; files nearest to the root come first.

    Attributes:
        root: the root folder.
        files: the paths.
        not_utf8: printable forms of file names that are not UTF-8. They are not in `files`, because no manifest or
            table can hold them.
    """

    root: Path
    files: tuple[str, ...]
    not_utf8: tuple[str, ...] = ()

    def files_named(self, name: str) -> list[str]:
        """Return the paths of all files with a given name, in any folder. Upper and lower case do not matter.

        Files nearest to the root come first. Among equally near files, those with exactly this name come first.
        """
        wanted = name.casefold()
        found = [path for path in self.files if path.rpartition("/")[2].casefold() == wanted]
        return sorted(found, key=lambda path: (path.count("/"), path.rpartition("/")[2] != name))

    def files_in(self, folder: str) -> list[str]:
        """Return the paths of all files directly in folders with a given name, wherever these folders are.

        Upper and lower case of the folder's name do not matter.
        """
        wanted = folder.casefold()
        return [
            path for path in self.files if path.rpartition("/")[0].rpartition("/")[2].casefold() == wanted
        ]

    def archives(self) -> list[str]:
        """Return the paths of archives (.zip, .tar and so on) below the root; the user may have to unpack them."""
        return [path for path in self.files if path.lower().endswith(ARCHIVES)]

    def notes(self) -> list[Problem]:
        """Return a note on files that are left out because their names are not UTF-8 (empty list if there are none)."""
        if not self.not_utf8:
            return []
        told = f"{counted(len(self.not_utf8), 'file')} left out, whose names are no UTF-8: {list_some(self.not_utf8)}"
        return [Problem(None, "note", "name_not_utf8", f"{told}; rename to use")]


def list_folder(root: Path) -> FolderListing:
    """List all files of a corpus folder, without hidden folders and system files such as `.DS_Store`.

    Of a folder that is a symbolic link, only the files directly in it are listed. So a later check can report those
    that lie outside the root.

    Raises:
        CorpusError: the root is not a folder or cannot be listed.
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
            f"{root} cannot be listed",
            details=faults,
            hint="give yourself permission to read these folders, then scan again",
        )
    files.sort(key=lambda path: (path.count("/"), path))
    not_utf8 = [path for path in files if not _is_utf8(path)]
    if not_utf8:
        files = [path for path in files if _is_utf8(path)]
    return FolderListing(root, tuple(files), tuple(map(escaped, not_utf8)))


def _words(error: OSError) -> str:
    return escaped(f"{error.filename}: {error.strerror}")


def _is_utf8(path: str) -> bool:
    """Return whether a file name is valid UTF-8.

    Python represents all other bytes of a name as surrogate characters, which no table or manifest can hold.
    """
    return path.isascii() or path == path.encode("utf-8", "ignore").decode("utf-8")


def escaped(path: str) -> str:
    """Return a file name that can be printed: bytes that are not UTF-8 are written as codes such as `\\xfc`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _linked(root: Path, place: Path) -> Iterable[str]:
    folder = root / place
    names = os.listdir(folder) if folder.is_dir() else []
    return [(place / name).as_posix() for name in names if not name.startswith(SYSTEM_FILES)]


def read_content(root: Path, path: str) -> bytes:
    """Read a table or transcript of a corpus and return its bytes; an empty file gives empty bytes.

    Links that lead out of the corpus folder are not followed, and a pipe is never opened.

    Args:
        root: folder of the corpus.
        path: path of the file, relative to `root`.

    Raises:
        Missing: the file lies outside the root, is absent, is not a regular file, is a Git LFS pointer, or is
            unreadable.
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
    """Return a message for the user: why `read_content` rejected a file, and what to do about it."""
    return f"{path}: {REMEDIES.get(missing.reason, missing.reason.meaning)}"


def counted(number: int, noun: str) -> str:
    """Return a count with its noun: `1 fault`, `2 faults`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def list_some(names: Iterable[str], most: int = 8) -> str:
    """Return names as one text for a message: the first `most` names and the number of further ones.

    For example, `a.mp4, b.mp4 and 12 more`.
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
