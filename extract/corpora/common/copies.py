"""Files that exist several times in a corpus: choose one copy, and report whether all copies hold the same bytes."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from ercache.manifest import Problem
from extract.corpora.common.inspect_media import MediaFacts
from extract.corpora.common.listing import list_some

Key = TypeVar("Key", bound=Hashable)


class Copies(Generic[Key]):
    """Collects the copies of each file of a corpus, and chooses one of them: the copy in its proper folder."""

    def __init__(self) -> None:
        self._paths: dict[Key, list[tuple[int, str]]] = defaultdict(list)

    def add(self, key: Key, path: str, misplacement: int = 0) -> None:
        """Add a file. Files must be added in the order of a `FolderListing`: those nearest to the root first.

        Args:
            key: identifies the content, for example a clip's name. Files with the same key are copies of each other.
            path: path of the file.
            misplacement: 0 if the file is in its proper folder, larger for worse folders. The copy with the smallest
                value is chosen; among equal values, the copy that was added first.
        """
        self._paths[key].append((misplacement, path))

    @property
    def chosen(self) -> dict[Key, str]:
        """Dict from the key of each file (see `add`) to the path of the copy that is used."""
        return {key: ranked[0] for key, ranked in self._ranked()}

    @property
    def duplicates(self) -> dict[str, str]:
        """Dict from the path of each copy that is not used to the path of the copy that is used instead."""
        return {path: ranked[0] for _, ranked in self._ranked() for path in ranked[1:]}

    def _ranked(self) -> list[tuple[Key, list[str]]]:
        return [
            (key, [path for _, path in sorted(found, key=lambda one: one[0])])
            for key, found in self._paths.items()
        ]


def problems_of_copies(duplicates: Mapping[str, str], media_facts: Mapping[str, MediaFacts]) -> list[Problem]:
    """Report all unused copies in one note: how many have the same bytes as the chosen file, and which differ.

    Args:
        duplicates: path of an unused copy -> path of the file that was chosen instead.
        media_facts: path -> media facts, for unused copies and chosen files.
    """
    if not duplicates:
        return []
    digests = {
        path: media_facts[path].sha256 for path in {*duplicates, *duplicates.values()} if path in media_facts
    }
    same, other, unread = [], [], []
    for path, chosen in duplicates.items():
        one, two = digests.get(path), digests.get(chosen)
        if one is None or two is None:
            unread.append(path)
        elif one == two:
            same.append(path)
        else:
            other.append(f"{path} ({chosen} was taken)")
    told = [f"{len(same)} with the same bytes ({list_some(same, 3)})"] if same else []
    told += [f"{len(other)} that differ: {list_some(other)}"] if other else []
    told += [f"{len(unread)} that could not be compared: {list_some(unread)}"] if unread else []
    files = "file is" if len(duplicates) == 1 else "files are"
    detail = f"{len(duplicates)} {files} there again and left out: {'; '.join(told)}"
    return [Problem(None, "note", "repeated_file", detail)]
