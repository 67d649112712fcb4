"""Read a dataset of an untrusted HDF5 file safely: only numbers, only from the file itself, and with limited memory.

HDF5 alone would follow links to other files, return any number of zeros for data that was never written, and unpack a
small chunk (a compressed block of a dataset) to any size.
"""

import zlib
from typing import Final

import h5py
from h5py import h5z

from ercache.archives import ALWAYS_ALLOWED, MAX_RATIO
from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.numbers import NUMBERS

_DEFLATE: Final = 1100  # deflate packs at most 1032 bytes into one byte
_PACKERS: Final = (h5z.FILTER_DEFLATE, h5z.FILTER_LZF, h5z.FILTER_SZIP)
_BEFORE: Final = (
    h5z.FILTER_SHUFFLE,
    h5z.FILTER_NBIT,
    h5z.FILTER_SCALEOFFSET,
)  # these filters do not change the size of a chunk
_HINT: Final = "check that the file is complete and of the given format"


def own_dataset(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Look up a dataset that is stored in the file itself.

    Links, external datasets and virtual datasets are not returned, because they could read other files.

    Returns:
        The dataset, or None if the file itself holds no dataset of this name.
    """
    data = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        return None
    return data


def check_dataset(data: h5py.Dataset, where: str) -> None:
    """Refuse a dataset with an impossible type or shape, before any values are read.

    Args:
        where: description of the dataset for error messages.

    Raises:
        UsageError: the dataset does not hold numbers, was never written, or has more values than the file can hold.
    """
    if data.dtype.kind not in NUMBERS:
        raise UsageError(f"{where} holds {data.dtype} values, not numbers", hint=_HINT)
    stored, claimed = data.id.get_storage_size(), int(data.nbytes)
    if claimed and not stored:
        raise UsageError(
            f"{where} states the shape {list(data.shape)}, but the file holds no values of it", hint=_HINT
        )
    chunk = _chunk_bytes(data)
    most = min(max(ALWAYS_ALLOWED, MAX_RATIO * stored), _DEFLATE * stored)
    if claimed > most or chunk > max(ALWAYS_ALLOWED, most):
        raise UsageError(
            f"{where} states the shape {list(data.shape)}, which is more than the file can hold", hint=_HINT
        )


def read_dataset(data: h5py.Dataset, where: str) -> Array:
    """Read all values of an HDF5 dataset that `check_dataset` accepted.

    Raises:
        UsageError: the dataset is damaged, or a compressed chunk unpacks to more bytes than a chunk can have.
    """
    try:
        check_chunks(data, where)
        values: Array = data[:] if data.ndim else data[()]
        return values
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{where} is not readable ({error})", hint=_HINT) from error


def check_chunks(data: h5py.Dataset, where: str) -> None:
    """Refuse a dataset if one of its chunks (compressed blocks) unpacks to more bytes than a chunk can have.

    Args:
        data: the dataset.
        where: description of the dataset for error messages.

    Raises:
        UsageError: a chunk is too large, or the filters of the dataset do not allow this check.
        OSError: the dataset is damaged.
    """
    properties = data.id.get_create_plist()
    filters = [properties.get_filter(n)[0] for n in range(properties.get_nfilters())]
    packers = [n for n, code in enumerate(filters) if code in _PACKERS]
    if not filters:
        return
    at = packers[0] if packers else len(filters)
    ordered = all(code in _BEFORE for code in filters[:at])
    if not ordered or any(code != h5z.FILTER_FLETCHER32 for code in filters[at + 1 :]):
        raise UsageError(
            f"{where} is stored with HDF5 filters (compression) that ercache does not support, numbers {filters}",
            hint="write it with gzip, or uncompressed",
        )
    size = _chunk_bytes(data)
    places: list[tuple[tuple[int, ...], int]] = []
    data.id.chunk_iter(lambda info: places.append((info.chunk_offset, info.size)))
    for offset, stored in places:
        if stored > 2 * size + 4096 or (
            packers and filters[at] == h5z.FILTER_DEFLATE and _overflows(data, offset, size)
        ):
            raise UsageError(
                f"{where}: the compressed block (chunk) at {list(offset)} is larger than its stated size",
                hint=_HINT,
            )


def _overflows(data: h5py.Dataset, offset: tuple[int, ...], size: int) -> bool:
    mask, raw = data.id.read_direct_chunk(offset)
    if mask:
        return False  # not compressed
    try:
        return len(zlib.decompressobj().decompress(raw, size + 1)) > size
    except zlib.error:
        return False  # HDF5 reports the damage when it reads


def _chunk_bytes(data: h5py.Dataset) -> int:
    size = int(data.dtype.itemsize)
    for n in data.chunks or (0,):
        size *= int(n)
    return size
