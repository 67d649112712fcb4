"""Read pickles from untrusted sources: only plain containers, numpy arrays and numpy scalars are accepted.

Pickle protocols 0 to 5 of Python 2 (texts as latin-1) and Python 3 are supported, with all module paths that numpy has
used. A name in a pickle is never imported. It is replaced by an entry of `numpy_reconstructors`, or the file is
refused.
"""

import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.numpy_reconstructors import (
    TABLE,
    ArrayBox,
    Dtype,
    Refused,
    SafeGlobal,
    TooLarge,
    copy_budget,
)
from ercache.formats.opcodes import check_opcodes

DEPTH: Final = 200  # deepest nesting of containers; usual files have five levels
# How often content may be repeated. A list that holds another list a thousand times, which holds a third one a thousand
# times, is small until it is traversed. Usual files repeat labels, but no features.
_SHARED: Final = 4
_FLOOR: Final = 1 << 22  # items plus words of 8 bytes that are accepted in any file
_NUMBERS: Final = frozenset((type(None), bool, int, float, complex))
_HINT: Final = "no code of the file was run; ask its authors for plain arrays (.npy, .npz, .safetensors)"


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, but functions and classes are never imported: safe replacements take their place."""

    def find_class(self, module: str, name: str) -> Any:
        found = TABLE.get(module, {}).get(name)
        if found is None:
            raise Refused(f"{module}.{name}"[:200])
        return found


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain containers and numpy arrays. No code in the file is run.

    Returns:
        The pickled object. Texts of Python 2 are decoded as latin-1. Arrays of objects hold plain data.

    Raises:
        UsageError: the pickle is damaged, or needs a class or function that is not part of plain data and numpy. The
            message names it.
    """
    return load_pickled(path.read_bytes(), str(path))


def load_pickled(data: bytes, where: str) -> Any:
    """Read a pickle that is already in memory as bytes. No code in it is run; see `load_pickle`.

    Args:
        data: the bytes of the pickle.
        where: file or member of an archive that the bytes come from, for error messages.
    """
    check_opcodes(data, where)
    try:
        with copy_budget(_SHARED * len(data) + _FLOOR):
            loaded = _Unpickler(io.BufferedReader(io.BytesIO(data)), encoding="latin-1").load()
        value, weight = _Plain().of(loaded)
        if weight > _SHARED * len(data) + _FLOOR:
            raise TooLarge("the same content many times, far more than the size of the file")
        return value
    except TooLarge as error:
        raise UsageError(f"{where}: refused, because it holds {error}", hint=_HINT) from error
    except Refused as error:
        raise UsageError(
            f"{where}: refused, because it holds {error}, which is neither a plain container nor a numpy array",
            hint=_HINT,
        ) from error
    except Exception as error:  # a damaged pickle can raise any exception
        message = f"{where}: not a usable pickle ({type(error).__name__}: {error})"[:500]
        raise UsageError(message, hint=_HINT) from error


_Weighed = tuple[Any, int]


class _Plain:
    """Finishes an object that was loaded from a pickle: replaces placeholders by their arrays, and measures its size.

    The placeholders are the `ArrayBox` objects. The size is the number of items plus the number of 8-byte words.
    Content that is used in several places counts once for each place.
    """

    def __init__(self) -> None:
        self._done: dict[int, tuple[object, _Weighed | None]] = {}

    def of(self, value: Any, depth: int = 0) -> _Weighed:
        """Replace each `ArrayBox` in a value by its array. Lists and dictionaries are changed in place.

        Returns:
            Two values: the changed value, and its size.
        """
        if type(value) in _NUMBERS or isinstance(value, np.generic):
            return value, 1
        if isinstance(value, str | bytes | bytearray):
            return value, 1 + len(value) // 8
        if depth > DEPTH:
            raise TooLarge(f"containers nested more than {DEPTH} levels deep")
        known = self._done.get(id(value))
        if known is None:
            self._done[id(value)] = (value, None)  # keep a reference, so that the id is not reused
            made = self._made(value, depth + 1)
            self._done[id(value)] = (value, made)
            return made
        if known[1] is None:
            raise TooLarge("a container that contains itself")
        return known[1]

    def _made(self, value: Any, depth: int) -> _Weighed:
        if isinstance(value, ArrayBox):
            if value.value is None:
                raise Refused("a numpy array without content")
            return self._made(value.value, depth)
        if isinstance(value, Dtype):
            return value.spelling, 1
        if isinstance(value, np.ndarray):
            return self._array(value, depth)
        if isinstance(value, list):
            value[:], weight = self._items(value, depth)
            return value, weight
        if isinstance(value, tuple):
            items, weight = self._items(value, depth)
            return tuple(items), weight
        if isinstance(value, dict):
            keys, before = self._items(value, depth)
            items, after = self._items(value.values(), depth)
            value.clear()
            value.update(zip(keys, items, strict=True))
            return value, before + after
        if isinstance(value, set | frozenset):
            items, weight = self._items(value, depth)
            return type(value)(items), weight
        raise Refused(
            f"{value.name} by itself" if isinstance(value, SafeGlobal) else f"a {type(value).__name__}"
        )

    def _items(self, values: Iterable[Any], depth: int) -> tuple[list[Any], int]:
        items, total = [], 1
        for value in values:
            item, weight = (value, 1) if type(value) in _NUMBERS else self.of(value, depth)
            items.append(item)
            total += weight
        return items, total

    def _array(self, value: Array, depth: int) -> _Weighed:
        if not value.dtype.hasobject:
            return value, 1 + value.nbytes // 8
        flat = value.reshape(-1)
        items, weight = self._items(flat, depth)
        for i, item in enumerate(items):
            flat[i] = item
        return value, weight
