"""Read untrusted `.npy` and `.npz` files safely: Python objects and arrays larger than the file are refused."""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from ercache.archives import UNPACK_ERRORS, BadArchive, members_of
from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.numbers import NUMBERS
from ercache.formats.unpickle import load_pickled

_READ_ERRORS: Final = (ValueError, OSError, EOFError, MemoryError)
_TEXTS: Final = "US"


def read_npy(path: Path) -> Array:
    """Read the array of numbers in a `.npy` file.

    Raises:
        UsageError: the file is absent, damaged, or holds Python objects, which could run code.
    """
    try:
        with path.open("rb") as stream:
            _check_head(stream, path.stat().st_size, str(path), NUMBERS)
        array: Array = np.load(path, allow_pickle=False)
        return array
    except _READ_ERRORS as error:
        raise UsageError(
            f"{path}: not readable as .npy ({error})", hint="check that the file is complete"
        ) from error


def read_npz(path: Path, holds_numbers: Callable[[str], bool]) -> dict[str, Array]:
    """Read all arrays of a `.npz` file, after checking the sizes and types in all of their headers.

    Args:
        path: the file.
        holds_numbers: function that tells for the name of an array whether the array must hold numbers. Other arrays
            may also hold texts.

    Returns:
        A dictionary from name to array.

    Raises:
        UsageError: the file is damaged, states impossible sizes, or has an array of a wrong type.
    """
    try:
        members = {name.removesuffix(".npy"): info for name, info in members_of(path).items()}
        with zipfile.ZipFile(path) as archive:
            for name, info in members.items():
                kinds = NUMBERS if holds_numbers(name) else NUMBERS + _TEXTS
                with archive.open(info) as stream:
                    _check_head(stream, info.file_size, f"{path}: {name}", kinds)
            return {name: _read(archive, info) for name, info in members.items()}
    except (BadArchive, *UNPACK_ERRORS, *_READ_ERRORS) as error:
        raise UsageError(
            f"{path}: not readable as .npz ({error})", hint="check that the file is complete"
        ) from error


def read_npz_objects(path: Path) -> dict[str, Any]:
    """Read the Python objects in an `.npz` file, such as pickled dictionaries of labels. No code in the file is run.

    Returns:
        A dictionary from the name of an object to the object. Arrays of numbers or texts are left out.

    Raises:
        UsageError: the file is damaged, or a pickle in it holds other things than plain data.
    """
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, info in members_of(path).items():
                stream = io.BytesIO(archive.read(info))
                if _head(stream)[1].hasobject:
                    given = load_pickled(stream.read(), f"{path}: {name}")
                    alone = isinstance(given, np.ndarray) and given.ndim == 0
                    found[name.removesuffix(".npy")] = given.item() if alone else given
    except (BadArchive, *UNPACK_ERRORS, *_READ_ERRORS) as error:
        raise UsageError(
            f"{path}: not readable as .npz ({error})", hint="check that the file is complete"
        ) from error
    return found


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # reading to the end checks the checksum
        return array


def _check_head(stream: IO[bytes], size: int, where: str, kinds: str) -> None:
    """Refuse an array whose header states an impossible size or type, because reading it could use up all memory.

    Args:
        stream: the file, at its beginning. Afterwards it is at the end of the header.
        size: size of the file in bytes.
        where: description of the array for error messages.
        kinds: allowed kinds of values, as in `numpy.dtype.kind`.
    """
    shape, dtype = _head(stream)
    if dtype.kind not in kinds:
        raise UsageError(
            f"{where}: refused, because it is an array of {dtype}",
            hint="no code was run; save the array as numbers, without Python objects",
        )
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - stream.tell():
        raise UsageError(
            f"{where}: the header states the shape {list(shape)}, which is more than the file has",
            hint="check that the file is complete",
        )


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        # Version 3 differs from 2 only in the names of fields, which arrays of numbers do not have.
        one = np.lib.format.read_array_header_1_0
        shape, _, dtype = (one if version == (1, 0) else np.lib.format.read_array_header_2_0)(stream)
    except Exception as error:  # a header is a Python expression, whose parser can raise any exception
        raise ValueError(f"not the header of an array: {type(error).__name__}: {error}"[:200]) from error
    return tuple(int(n) for n in shape), dtype
