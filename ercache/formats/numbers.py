"""From a value of a pickle to an array of numbers, looked at before numpy makes anything of it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError

NUMBERS: Final = "biuf"  # kinds of dtypes that features may have
_TYPES: Final = (bool, int, float, np.bool_, np.number)


def as_numbers(value: Any, where: str) -> Array:
    """An array of numbers.

    Numpy would give every element of a list as much room as its longest text takes: texts are refused before.

    Args:
        where: what it is, for messages.

    Raises:
        UsageError: there is anything but numbers in it, or its rows have different lengths.
    """
    if not isinstance(value, np.ndarray):
        _check(value, where)
    try:
        array: Array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where} is no array ({error})", hint="is the file whole?") from error
    if array.dtype.kind not in NUMBERS:
        raise UsageError(f"{where}: {array.dtype} values are no features", hint="features are numbers")
    return array


def _check(value: Any, where: str) -> None:
    rows: list[Sequence[Any]] = [[value]]
    while rows:
        row = rows.pop()
        if all(issubclass(kind, _TYPES) for kind in set(map(type, row))):
            continue
        for item in row:
            if isinstance(item, list | tuple):
                rows.append(item)
            elif not isinstance(item, _TYPES) and not (
                isinstance(item, np.ndarray) and item.dtype.kind in NUMBERS
            ):
                kind = item.dtype if isinstance(item, np.ndarray) else type(item).__name__
                raise UsageError(f"{where}: {kind} values are no features", hint="features are numbers")
