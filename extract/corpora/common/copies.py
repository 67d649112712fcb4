"""Files that lie in a corpus several times: which one is taken, and whether the others hold the same bytes."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from ercache.manifest import Problem
from extract.corpora.common.inspect_media import Seen
from extract.corpora.common.listing import some

Key = TypeVar("Key", bound=Hashable)


class Copies(Generic[Key]):
    """Files by what they are; of several that are the same, the one that lies where it belongs is taken."""

    def __init__(self) -> None:
        self._paths: dict[Key, list[tuple[int, str]]] = defaultdict(list)

    def add(self, key: Key, path: str, strayed: int = 0) -> None:
        """Add a file; files come in the order of a listing, nearest to the root first.

        Args:
            strayed: how far it lies from its place; the least wins, and the earlier one of equals.
        """
        self._paths[key].append((strayed, path))

    @property
    def taken(self) -> dict[Key, str]:
        """Key -> the file that is taken."""
        return {key: ranked[0] for key, ranked in self._ranked()}

    @property
    def again(self) -> dict[str, str]:
        """Each file that was left out -> the one that was taken in its place."""
        return {path: ranked[0] for _, ranked in self._ranked() for path in ranked[1:]}

    def _ranked(self) -> list[tuple[Key, list[str]]]:
        return [
            (key, [path for _, path in sorted(found, key=lambda one: one[0])])
            for key, found in self._paths.items()
        ]


def notes_of_copies(again: Mapping[str, str], seen: Mapping[str, Seen]) -> list[Problem]:
    """One note on all files that are there again: how many hold the same bytes, and which do not.

    Args:
        again: file that was left out -> the one that was taken.
        seen: a survey of both.
    """
    if not again:
        return []
    digests = {path: seen[path].sha256 for path in {*again, *again.values()} if path in seen}
    same, other, unread = [], [], []
    for path, taken in again.items():
        one, two = digests.get(path), digests.get(taken)
        if one is None or two is None:
            unread.append(path)
        elif one == two:
            same.append(path)
        else:
            other.append(f"{path} ({taken} was taken)")
    told = [f"{len(same)} with the same bytes ({some(same, 3)})"] if same else []
    told += [f"{len(other)} that differ: {some(other)}"] if other else []
    told += [f"{len(unread)} that could not be compared: {some(unread)}"] if unread else []
    files = "file is" if len(again) == 1 else "files are"
    detail = f"{len(again)} {files} there again and left out: {'; '.join(told)}"
    return [Problem(None, "note", "repeated_file", detail)]
