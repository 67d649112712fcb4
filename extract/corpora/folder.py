"""A corpus folder as it lies on disk: names only, nothing is opened."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ercache.errors import CorpusError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".7z", ".rar")
# Left by macOS and Windows; the first kind ends in .mp4, .wav or .csv like the file it accompanies.
LITTER = ("._", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Folder:
    """All files below a root, as paths with forward slashes relative to it, shallowest first."""

    root: Path
    files: tuple[str, ...]

    def named(self, name: str) -> list[str]:
        """Files of a name, at any depth."""
        return [path for path in self.files if path.rpartition("/")[2] == name]

    def inside(self, folder: str) -> list[str]:
        """Files that lie directly in a folder of that name, at any depth."""
        return [path for path in self.files if path.rpartition("/")[0].rpartition("/")[2] == folder]

    def archives(self) -> list[str]:
        """Files that have still to be unpacked."""
        return [path for path in self.files if path.endswith(ARCHIVES)]


def list_folder(root: Path) -> Folder:
    """List a corpus folder; links to folders are followed one step, so that they are seen (and later refused).

    Raises:
        CorpusError: the root is no folder or cannot be listed.
    """
    if not root.is_dir():
        raise CorpusError(f"the corpus root is no folder: {root}", hint="give the folder that you unpacked")
    faults: list[str] = []
    files: list[str] = []
    for top, folders, names in os.walk(root, onerror=lambda error: faults.append(str(error))):
        folders[:] = sorted(name for name in folders if name != "__MACOSX" and not name.startswith("."))
        place = Path(top).relative_to(root)
        files += [(place / name).as_posix() for name in names if not name.startswith(LITTER)]
        for folder in folders:
            if (Path(top) / folder).is_symlink():
                files += _linked(root, place / folder)
    if faults:
        raise CorpusError(f"{root} cannot be listed", details=faults)
    return Folder(root, tuple(sorted(files, key=lambda path: (path.count("/"), path))))


def _linked(root: Path, place: Path) -> Iterable[str]:
    folder = root / place
    names = os.listdir(folder) if folder.is_dir() else []
    return [(place / name).as_posix() for name in names if not name.startswith(LITTER)]


def some(names: Iterable[str], most: int = 8) -> str:
    """A few names for a message, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
