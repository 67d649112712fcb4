"""Reading pickles of other people: plain containers, numpy arrays and scalars, and nothing else.

Protocols 0 to 5, of Python 2 (texts as latin-1) and 3, with numpy's module paths of all times. A name in a pickle never
reaches what it names: it becomes an entry of `stand_ins`, or the file is refused by that name.
"""

import io
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.errors import UsageError
from ercache.exchange.opcodes import check_opcodes
from ercache.exchange.stand_ins import TABLE, Dtype, Held, Name, Refused

DEPTH: Final = 200  # containers inside containers; files of the field have five
_ATOMS: Final = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray))
_HINT: Final = "nothing of the file was run; ask its makers for plain arrays (.npy, .npz, .safetensors)"


class _Unpickler(pickle.Unpickler):
    """The standard unpickler with our table in the place of imports: its one way to be told so is a subclass."""

    def find_class(self, module: str, name: str) -> Any:
        found = TABLE.get(module, {}).get(name)
        if found is None:
            raise Refused(f"{module}.{name}"[:200])
        return found


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain containers and numpy arrays.

    Returns:
        What was pickled; texts of Python 2 are read as latin-1, arrays of objects hold plain data.

    Raises:
        UsageError: it names or needs anything else (told by name), or is damaged; nothing was run.
    """
    data = path.read_bytes()
    check_opcodes(data, str(path))
    try:
        return _Plain().of(_Unpickler(io.BufferedReader(io.BytesIO(data)), encoding="latin-1").load())
    except Refused as error:
        raise UsageError(
            f"{path}: refused, it holds {error}, which is neither a plain container nor a numpy array",
            hint=_HINT,
        ) from error
    except Exception as error:  # a damaged pickle fails in any way that Python has
        message = f"{path}: not a usable pickle ({type(error).__name__}: {error})"[:500]
        raise UsageError(message, hint=_HINT) from error


class _Plain:
    """Puts the arrays in the places of what stood for them, each container once."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[object, Any]] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value with arrays in it; lists and dicts are changed in place."""
        if value is None or isinstance(
            value, str | bytes | bytearray | bool | int | float | complex | np.generic
        ):
            return value
        if depth > DEPTH:
            raise Refused(f"more than {DEPTH} containers inside each other")
        if id(value) not in self._done:
            self._done[id(value)] = (value, value)  # it may hold itself; held, so that its id stays its own
            self._done[id(value)] = (value, self._made(value, depth + 1))
        return self._done[id(value)][1]

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, Held):
            if value.array is None:
                raise Refused("a numpy array without content")
            return self._made(value.array, depth)
        if isinstance(value, Dtype):
            return value.spelling
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                flat = value.reshape(-1)
                for i, item in enumerate(flat):
                    flat[i] = self.of(item, depth)
            return value
        if isinstance(value, list):
            value[:] = [item if type(item) in _ATOMS else self.of(item, depth) for item in value]
            return value
        if isinstance(value, tuple):
            return tuple(self.of(item, depth) for item in value)
        if isinstance(value, dict):
            items = [(self.of(key, depth), self.of(item, depth)) for key, item in value.items()]
            value.clear()
            value.update(items)
            return value
        if isinstance(value, set | frozenset):
            return type(value)(self.of(item, depth) for item in value)
        raise Refused(f"{value.name} by itself" if isinstance(value, Name) else f"a {type(value).__name__}")
