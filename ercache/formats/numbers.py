"""Convert a value that was read from another project's file into an array of numbers, or refuse it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError

_HINT: Final = "features are numbers; check that the right file was given"
NUMBERS: Final = "biuf"  # dtype kinds of features: bool, integer, unsigned, float
_TYPES: Final = (bool, int, float, np.bool_, np.number)


def as_numbers(value: Any, where: str) -> Array:
    """Convert a value to an array of numbers.

    Texts are refused before the conversion. Otherwise numpy would allocate the length of the longest text for every
    element.

    Args:
        value: array, number, or nested lists of numbers.
        where: description of the value for error messages.

    Raises:
        UsageError: the value holds something other than numbers, or rows of different lengths.
    """
    if not isinstance(value, np.ndarray):
        _check(value, where)
    try:
        array: Array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{where} cannot be converted to an array ({error})", hint="check that the file is complete"
        ) from error
    if array.dtype.kind not in NUMBERS:
        raise UsageError(
            f"{where}: values of type {array.dtype} cannot be features",
            hint=_HINT,
        )
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
                raise UsageError(
                    f"{where}: values of type {kind} cannot be features",
                    hint=_HINT,
                )
