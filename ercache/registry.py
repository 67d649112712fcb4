"""Registries of encoders, corpora, models and metrics. To register an entry, add a file; there is no list to edit.

A registry finds its entries in two places. The first is a package of ercache: a module of this package registers itself
by defining `ENTRY`, or `ENTRIES` if it has several. The second is a group of Python entry points: any installed package
(a plug-in) may name modules of its own there, in its pyproject.toml:

    [project.entry-points."ercache.models"]
    my_model = "my_package.my_model"
"""

import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

from ercache.errors import UsageError

ENTRY: Final = re.compile(r"^ENTRY\b|^from .* import ENTRY$", re.MULTILINE)
E = TypeVar("E")
V = TypeVar("V")


class Registry(Mapping[str, E], Generic[E]):
    """A dictionary from key to entry, sorted by key. Entries are imported when they are needed.

    If a key is also the name of a file (`text/all-mpnet` is `text/all_mpnet.py`), only that file is imported. Otherwise
    all files and plug-ins are imported to find the key.

    Args:
        package: dotted name of the package of ercache that holds the entries. Its subfolders are searched, too.
        group: name of the group of entry points in which plug-ins name their modules.
        key: function that returns the key of an entry.
        faults: function that returns one sentence for each thing that an entry lacks; an empty list if the entry is
            usable.
        by_file: whether every key in the package is the name of its file. Keys are then listed without importing any
            file.

    Attributes:
        known: the entries that have been imported so far.
    """

    def __init__(
        self,
        package: str,
        group: str,
        key: Callable[[E], str],
        faults: Callable[[E], list[str]],
        by_file: bool = False,
    ) -> None:
        self._package, self._group, self._key, self._faults = package, group, key, faults
        self._by_file = by_file
        self.known: dict[str, E] = {}
        self._complete = self._plugins_read = False

    def __getitem__(self, key: str) -> E:
        """Return the entry with this key. The file of the entry is imported if necessary.

        Raises:
            KeyError: there is no entry with this key.
            UsageError: an entry lacks something that it needs, or a plug-in cannot be imported.
        """
        if key not in self.known:
            name = f"{self._package}.{key.replace('/', '.').replace('-', '_')}"
            if _exists(name) and self._take(import_module(name), name) and self._by_file:
                self._check_name(key, name)
        if key not in self.known:
            if self._by_file:
                self._read_plugins()
            else:
                self._complete_it()
        return self.known[key]

    def _check_name(self, key: str, name: str) -> None:
        if key not in self.known:
            raise UsageError(
                f"{name}: the entry in this file has another key than {key!r}, the name of the file; change the key or "
                "rename the file"
            )

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str) and self[key] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> list[str]:
        if not self._by_file:
            self._complete_it()
            return sorted(self.known)
        self._read_plugins()
        folders = import_module(self._package).__path__
        files = [path for folder in folders for path in Path(folder).glob("*") if _has_entry(path)]
        return sorted({*(path.stem for path in files), *self.known})

    def mapped(self, value: Callable[[E], V]) -> Mapping[str, V]:
        """Make a read-only dictionary with the keys of this registry and one property of each entry as its value.

        Args:
            value: function that computes the property of an entry. It is called at each lookup, so that only the
                entries that are looked up are imported.
        """
        return _Mapped(self, value)

    def _complete_it(self) -> None:
        if self._complete:
            return
        self._search(import_module(self._package))
        self._read_plugins()
        self._complete = True

    def _read_plugins(self) -> None:
        """Import and register the entries of all plug-ins. A second call does nothing."""
        if self._plugins_read:
            return
        for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
            self._take(_plugin(point), point.value)
        self._plugins_read = True

    def _search(self, package: ModuleType) -> None:
        """Import and register the entries in all modules of a package.

        A subpackage that defines no entry itself is searched in the same way.
        """
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(found.name)
            if not self._take(module, found.name) and found.ispkg:
                self._search(module)

    def _take(self, module: ModuleType, name: str) -> bool:
        """Register the entries that an imported module defines. Return whether it defines any."""
        own = vars(module)
        entries = own.get("ENTRIES", [own["ENTRY"]] if "ENTRY" in own else [])
        for entry in entries:
            faults = self._faults(entry)
            if faults:
                raise UsageError(
                    f"{name}: unusable entry for the registry {self._group}; correct the file", details=faults
                )
            known = self.known.setdefault(self._key(entry), entry)
            if known is not entry:
                raise UsageError(
                    f"{name}: the registry {self._group} already has an entry with the key {self._key(entry)!r}; "
                    "choose another key"
                )
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


def _has_entry(path: Path) -> bool:
    """Whether a Python file, or the `__init__.py` of a folder, defines or imports `ENTRY`."""
    file = path / "__init__.py" if path.is_dir() else path
    return file.suffix == ".py" and file.is_file() and bool(ENTRY.search(file.read_text(encoding="utf-8")))


def _plugin(point: EntryPoint) -> ModuleType:
    """Import a module with registry entries that an installed package (a plug-in) offers.

    Args:
        point: the entry point, which names the module.

    Raises:
        UsageError: the module cannot be imported. The message names the package and the reason.
    """
    try:
        return import_module(point.value)
    except Exception as error:  # a stranger's code may raise anything
        package = point.dist.name if point.dist else "an installed package"
        raise UsageError(
            f"{package}: {point.value} cannot be imported ({type(error).__name__}: {error})",
            hint="repair or uninstall that package",
        ) from error


def lacking(entry: Any, kind: type) -> list[str]:
    """Check that an entry is an instance of a class.

    Returns:
        A list with one error text if it is not, an empty list if it is.
    """
    return [] if isinstance(entry, kind) else [f"{entry!r} is no {kind.__name__}"]
