"""Safe replacements for the functions and classes that a pickle file may name.

When a pickle names a function or class, the unpickler does not import it, but takes a safe replacement from `TABLE`.
Each replacement checks its arguments and returns plain data. Arrays are built here from their bytes, and dtypes from
their names, so the file's content reaches no numpy constructor and no `__setstate__`. A pickle cannot change the
replacements. Their results cannot become dictionary keys that are slow to compare. A pickle may copy the same large
object many times; `copy_budget` limits the total.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import numpy as np

from ercache.cache import Array

_DTYPE: Final = re.compile(r"[<>=|]?(?:b1|i[1248]|u[1248]|f[248]|c8|c16|[SU]\d{1,7}|O8?|\?)", re.ASCII)
_AXES: Final = 32  # largest number of axes of an array; usual files have three
_LEFT: ContextVar[float] = ContextVar("bytes and items that calls may still copy", default=math.inf)


class Refused(Exception):
    """Raised when a pickle needs a function, class or argument that plain data does not need, so it may be unsafe."""


class TooLarge(Refused):
    """Raised when a pickle holds plain data, but nested too deeply or repeated too often."""


@contextmanager
def copy_budget(most: int) -> Iterator[None]:
    """Context manager: limit how much data may be copied while a pickle is loaded inside the `with` block.

    The safe replacements in this module, which rebuild numpy's arrays, count what they copy.

    Args:
        most: largest total; every copied byte of an array and every copied item of a list counts as one.

    Raises:
        TooLarge: a call inside the block exceeds the limit.
    """
    token = _LEFT.set(most)
    try:
        yield
    finally:
        _LEFT.reset(token)


def _spend(arguments: Iterable[object]) -> None:
    sizes = (
        len(a)
        for a in arguments
        if isinstance(a, str | bytes | bytearray | list | tuple | dict | set | frozenset)
    )
    left = _LEFT.get() - sum(sizes)
    if left < 0:
        raise TooLarge("the same content many times, far more than the size of the file")
    _LEFT.set(left)


def is_plain_key(value: object) -> bool:
    """Whether a value is quick to hash and compare: None, a text, or a number of at most 64 bits."""
    if type(value) is int:
        return value.bit_length() <= 64
    return value is None or isinstance(value, str | bytes | bool | float | np.generic)


class Dtype:
    """Safe replacement for `numpy.dtype` in a pickle. Types of numbers, texts and objects are allowed, records are not.

    A pickle may set its state (`__setstate__`), as for a real dtype, but this can change only the byte order.
    """

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("spelling",)

    def __init__(self, spelling: object) -> None:
        text = spelling.decode("latin-1") if isinstance(spelling, bytes) else spelling
        if not isinstance(text, str):
            raise Refused(f"a numpy dtype given as a {type(text).__name__}")
        if not _DTYPE.fullmatch(text):
            raise Refused(f"a numpy dtype spelled {text[:40]!r}")
        self.spelling = text

    def __setstate__(self, state: object) -> None:
        # State: version, order, subdtype, names, fields, itemsize, alignment, flags. Records and subarrays are refused.
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise Refused("a numpy dtype with fields")
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise Refused("a numpy dtype of unknown byte order")
        self.spelling = order + self.spelling.lstrip("<>=|")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spelling.replace("O8", "O"))


class ArrayBox:
    """Placeholder for an array or a frozenset while a pickle is loaded; `unpickle` replaces it at the end.

    It is needed because a pickle may create an array first, and give its content later.
    """

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("value",)

    def __init__(self, value: Array | frozenset[Any] | None) -> None:
        self.value = value

    def __setstate__(self, state: object) -> None:
        if self.value is not None or not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an invalid state of a numpy array")
        _, shape, dtype, fortran, content = state
        _spend((content,))
        self.value = _array(content, dtype, shape, "F" if fortran is True or fortran == 1 else "C")


class SafeGlobal:
    """Replacement for a function or class that a pickle names.

    A call runs `rule`, a safe function that returns plain data. Without a rule, the call is refused. A pickle cannot
    change the replacement.
    """

    __slots__ = ("_rule", "name")

    def __init__(self, name: str, rule: Callable[..., Any] | None = None) -> None:
        self.name, self._rule = name, rule

    def __call__(self, *arguments: object) -> Any:
        if self._rule is None:
            raise Refused(f"a call of {self.name}")
        _spend(arguments)
        return self._rule(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused(f"a state for {self.name}")


def _array(content: object, dtype: object, shape: object, order: object) -> Array:
    if not isinstance(dtype, Dtype) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise Refused("the arguments of a numpy array")
    if len(shape) > _AXES or not all(isinstance(n, int) and 0 <= n < 2**62 for n in shape):
        raise Refused("the shape of a numpy array")
    kind, size = dtype.dtype, math.prod(shape)
    if kind.hasobject:
        return _object_array(content, shape, size)
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, bytes | bytearray) or not kind.itemsize or len(raw) != size * kind.itemsize:
        raise Refused(f"a numpy array of shape {list(shape)[:8]} whose bytes do not fit it")
    flat = np.frombuffer(raw, kind)
    if kind.kind == "U" and (flat.view(np.dtype(kind.byteorder + "u4")) > 0x10FFFF).any():
        raise Refused("a numpy array of texts with characters that do not exist")
    return flat.reshape(shape, order="F" if order == "F" else "C").copy(order="C")


def _object_array(content: object, shape: tuple[int, ...], size: int) -> Array:
    """Build a numpy array of Python objects from a list of plain data, such as texts and dictionaries."""
    if not isinstance(content, list) or len(content) != size:
        raise Refused(f"a numpy array of shape {list(shape)[:8]} whose objects do not fit it")
    flat: Array = np.empty(size, object)
    for i, item in enumerate(content):
        flat[i] = item
    return flat.reshape(shape)


def _scalar(dtype: object, content: object = b"") -> Any:
    if isinstance(dtype, Dtype) and dtype.dtype.hasobject:
        raise Refused("a numpy scalar that is an object")
    return _array(content, dtype, (), "C")[()]


def _frombuffer(content: object, dtype: object, shape: object, order: object = "C", *_: object) -> ArrayBox:
    return ArrayBox(_array(content, dtype, shape, order))


def _reconstruct(kind: object, *_: object) -> ArrayBox:
    if kind is not _NDARRAY:
        raise Refused("an array of another class than numpy.ndarray")
    return ArrayBox(None)


def _encode(text: object, encoding: object = "latin-1") -> bytes:
    """Safe replacement for `_codecs.encode`: turn a latin-1 text into bytes.

    Pickles of protocol 0 to 2 that Python 3 wrote need it, because they store bytes as texts.
    """
    known = isinstance(encoding, str) and encoding.lower() in ("latin1", "latin-1", "iso-8859-1")
    if not isinstance(text, str) or not known:
        raise Refused("_codecs.encode with an encoding other than latin-1")
    return text.encode("latin-1")


_SEQUENCES: Final = (list, tuple, set, frozenset)


def _collection(kind: Callable[..., Any], *accepted: type) -> Callable[..., Any]:
    """Make a safe replacement for a container class such as `list`.

    Like the class, the replacement takes no argument or one container. A number is refused, because a class such as
    `bytearray` would take it as a size and allocate memory.
    """

    def make(*arguments: object) -> Any:
        if len(arguments) > 1 or not all(isinstance(a, accepted) for a in arguments):
            raise Refused(f"{kind.__name__} made of {', '.join(type(a).__name__ for a in arguments)[:100]}")
        return kind(*arguments)

    return make


def _members(kind: type[set[Any]] | type[frozenset[Any]]) -> Callable[..., Any]:
    """Make a safe replacement for `set` or `frozenset` that refuses members that are slow to hash or compare."""
    make = _collection(kind, *_SEQUENCES)

    def checked(*arguments: object) -> Any:
        for members in (a for a in arguments if isinstance(a, _SEQUENCES)):
            if not all(is_plain_key(member) for member in members):
                raise Refused(f"a {kind.__name__} of other than numbers and texts")
        return make(*arguments)

    return checked


def _frozenset(*arguments: object) -> ArrayBox:
    return ArrayBox(_members(frozenset)(*arguments))


def _bytearray(*arguments: object) -> bytearray:
    if len(arguments) == 2 and isinstance(arguments[0], str):
        return bytearray(_encode(*arguments))
    made: bytearray = _collection(bytearray, bytes)(*arguments)
    return made


def _complex(*parts: object) -> complex:
    if len(parts) != 2 or not all(isinstance(part, float | int) for part in parts):
        raise Refused("complex made of other than two numbers")
    real, imaginary = (float(part) for part in parts)  # type: ignore[arg-type]
    return complex(real, imaginary)


def _dtype(spelling: object, *_: object) -> Dtype:
    return Dtype(spelling)


def _mapping(*arguments: object) -> dict[Any, Any]:
    """Safe replacement for dict, OrderedDict and defaultdict in a pickle: builds a plain dict, without defaults."""
    items = (
        arguments[1:]
        if arguments and (arguments[0] is None or isinstance(arguments[0], SafeGlobal))
        else arguments
    )
    make = _collection(dict, list, dict)
    for pairs in (item for item in items if isinstance(item, list)):
        if not all(
            isinstance(pair, list | tuple) and len(pair) == 2 and is_plain_key(pair[0]) for pair in pairs
        ):
            raise Refused("a dict of other than pairs whose first is a number or a text")
    made: dict[Any, Any] = make(*items)
    return made


_NDARRAY: Final = SafeGlobal("numpy.ndarray")
_PLAIN: Final[Mapping[str, Callable[..., Any]]] = {
    "set": _members(set),
    "frozenset": _frozenset,
    "list": _collection(list, *_SEQUENCES),
    "dict": _mapping,
    "bytes": _collection(bytes, bytes, bytearray),
    "bytearray": _bytearray,
    "complex": _complex,
}
_FACTORIES: Final = {name: SafeGlobal(name) for name in ("int", "float", "str")}  # of a defaultdict
_NUMPY: Final = {"ndarray": _NDARRAY, "dtype": SafeGlobal("numpy.dtype", _dtype)}
_MULTIARRAY: Final = {
    **_NUMPY,
    "_reconstruct": SafeGlobal("_reconstruct", _reconstruct),
    "scalar": SafeGlobal("scalar", _scalar),
}
_NUMERIC: Final = {"_frombuffer": SafeGlobal("_frombuffer", _frombuffer)}
_BUILTINS: Final = {**{name: SafeGlobal(name, rule) for name, rule in _PLAIN.items()}, **_FACTORIES}
TABLE: Final[Mapping[str, Mapping[str, SafeGlobal]]] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "collections": {name: SafeGlobal(name, _mapping) for name in ("OrderedDict", "defaultdict")},
    "_codecs": {"encode": SafeGlobal("encode", _encode)},
    "numpy": _NUMPY,
    "numpy.core.multiarray": _MULTIARRAY,
    "numpy._core.multiarray": _MULTIARRAY,
    "numpy.core.numeric": _NUMERIC,
    "numpy._core.numeric": _NUMERIC,
}
