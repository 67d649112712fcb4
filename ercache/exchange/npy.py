"""One array of a `.npy` file of other people: numbers only, and no more than the file has."""

from pathlib import Path

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError


def read_npy(path: Path) -> Array:
    """Read an array of numbers.

    Raises:
        UsageError: the file is absent, is no such file, or holds objects, which could run code.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(stream)
            size = path.stat().st_size - stream.tell()
        if dtype.kind not in "biuf":
            raise UsageError(
                f"{path}: refused, an array of {dtype}", hint="features are numbers; nothing was run"
            )
        # Told by its header alone, an array may ask for any amount of memory.
        if (
            min(shape, default=0) < 0
            or int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize > size
        ):
            raise UsageError(f"{path}: its header asks for {list(shape)}, more than the file has")
        array: Array = np.load(path, allow_pickle=False)
        return array
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise UsageError(f"{path}: not readable as .npy ({error})", hint="is the file whole?") from error
