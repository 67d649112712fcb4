"""Registries: encoders, corpora, models and metrics are found where they lie, not listed anywhere.

A registry knows a package of ours and a group of entry points. Each module of the package may define `ENTRY`, or
`ENTRIES` where it has several, and so may each module that an installed package names in the group:

    [project.entry-points."ercache.models"]
    my_model = "my_package.my_model"

To add an entry is to add a file.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Generic, TypeVar

from ercache.errors import UsageError

E = TypeVar("E")
V = TypeVar("V")


class Registry(Mapping[str, E], Generic[E]):
    """Key -> entry, in the order of the keys.

    The file of a key has its name (`text/all-mpnet` is `text/all_mpnet.py`), so that one entry is read without
    importing the others. What lies in a file of another name, or in another package, is found by importing all.

    Args:
        package: dotted name of ours; folders in it are searched as well.
        group: of entry points, whose values are dotted names of modules.
        key: entry -> its key.
        faults: entry -> what it lacks, in words; empty for a usable one.

    Attributes:
        known: the entries that were read so far.
    """

    def __init__(
        self, package: str, group: str, key: Callable[[E], str], faults: Callable[[E], list[str]]
    ) -> None:
        self._package, self._group, self._key, self._faults = package, group, key, faults
        self.known: dict[str, E] = {}
        self._complete = False

    def __getitem__(self, key: str) -> E:
        """The entry of a key.

        Raises:
            KeyError: there is none.
            UsageError: an entry or a plug-in is unusable.
        """
        if key not in self.known:
            name = f"{self._package}.{key.replace('/', '.').replace('-', '_')}"
            if _exists(name):
                self._take(import_module(name), name)
        if key not in self.known:
            self._complete_it()
        return self.known[key]

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str) and self[key] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        self._complete_it()
        return iter(sorted(self.known))

    def __len__(self) -> int:
        self._complete_it()
        return len(self.known)

    def mapped(self, value: Callable[[E], V]) -> Mapping[str, V]:
        """Key -> a value of the entry, taken when it is asked for."""
        return _Mapped(self, value)

    def _complete_it(self) -> None:
        if self._complete:
            return
        self._search(import_module(self._package))
        for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
            self._take(_plugin(point), point.value)
        self._complete = True

    def _search(self, package: ModuleType) -> None:
        """Take the entries of a folder; a folder in it that has no entry of its own is searched in turn."""
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(found.name)
            if not self._take(module, found.name) and found.ispkg:
                self._search(module)

    def _take(self, module: ModuleType, name: str) -> bool:
        """Take the entries of a module; whether there was any."""
        own = vars(module)
        entries = own.get("ENTRIES", [own["ENTRY"]] if "ENTRY" in own else [])
        for entry in entries:
            faults = self._faults(entry)
            if faults:
                raise UsageError(f"{name}: unusable entry of {self._group}", details=faults)
            known = self.known.setdefault(self._key(entry), entry)
            if known is not entry:
                raise UsageError(f"{name}: there is another entry {self._key(entry)!r} of {self._group}")
        return bool(entries)


class _Mapped(Mapping[str, V], Generic[E, V]):
    def __init__(self, entries: Mapping[str, E], value: Callable[[E], V]) -> None:
        self._entries, self._value = entries, value

    def __getitem__(self, key: str) -> V:
        return self._value(self._entries[key])

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a folder of the name is not there, or the key is no name
        return False


def _plugin(point: EntryPoint) -> ModuleType:
    """The module that an installed package names.

    Raises:
        UsageError: it cannot be imported; with the package's name and the reason.
    """
    try:
        return import_module(point.value)
    except Exception as error:  # a stranger's code may raise anything
        package = point.dist.name if point.dist else "an installed package"
        raise UsageError(
            f"{package}: {point.value} cannot be imported ({type(error).__name__}: {error})",
            hint="mend or uninstall that package",
        ) from error


def lacking(entry: Any, kind: type) -> list[str]:
    """What an entry should be and is not, for registries whose entries are instances of a class."""
    return [] if isinstance(entry, kind) else [f"{entry!r} is no {kind.__name__}"]
