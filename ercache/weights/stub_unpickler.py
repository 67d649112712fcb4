"""Read the tensors from a torch pickle that also holds classes, without running any code in it.

No class or function that the pickle names is imported. Functions that build tensors are replaced by safe ones, and
OrderedDict by dict. Anything else becomes a stub object that accepts any call and does nothing. Both formats of torch
are supported: the zip archive of version 1.6 and later, and the sequence of pickles of older versions. `convert` runs
this module in a separate process.
"""

import io
import json
import mmap
import pickle
import pickletools
import resource
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch import Tensor

from ercache.archives import members_of
from ercache.digests import digest_of_file
from ercache.errors import ErcacheError, WeightsError
from ercache.pickle_check import BadPickle, check_pickle
from ercache.weights.container import KEYS

MEMORY: Final = (
    8 * 2**30
)  # address space in bytes, added to four times the file size; torch alone needs half of it
MAGIC: Final = 0x1950A86A20F9469CFC6C  # first pickle of the older format
_PAST_NAMES: Final = ("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
_ALLOWED: Final = frozenset(op.name for op in pickletools.opcodes).difference(_PAST_NAMES)
_DTYPES: Final = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Stub:
    """Harmless replacement for a class or function that a pickle names: accepts every call, stores nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Stub":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Stub":
        return Stub()

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None:
        """Ignore the item. A pickle calls this to append to a list-like object."""

    def extend(self, _: Any) -> None:
        """Ignore the items. A pickle calls this to extend a list-like object."""

    def add(self, _: Any) -> None:
        """Ignore the item. A pickle calls this to add to a set-like object."""


@dataclass(frozen=True)
class Storage:
    """A block of values in a torch file, as a flat tensor. One or several tensors of the file consist of its values."""

    values: Tensor


def tensors_of(path: Path, inside: str) -> dict[str, Tensor]:
    """Read the tensors of a state dict from a file that `torch.save` wrote.

    Args:
        path: the file.
        inside: key of the state dict in the saved dictionary; "" if the saved object is the state dict itself.

    Returns:
        A dictionary from name to tensor.

    Raises:
        WeightsError: the file is damaged, or there is no dictionary of tensors under that key.
    """
    try:
        if zipfile.is_zipfile(path):
            saved = _read_zip(path)
        else:
            with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                saved = _read_legacy(data)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.message}", hint=error.hint or "download it again") from error
    except Exception as error:  # a damaged pickle can raise any exception
        message = f"{path}: not a file that torch saved ({type(error).__name__}: {error})"[:500]
        raise WeightsError(message, hint="download it again") from error
    state = saved.get(inside) if inside and isinstance(saved, dict) else saved
    if not isinstance(state, dict) or not state:
        found = ", ".join(map(str, saved)) if isinstance(saved, dict) else type(saved).__name__
        raise WeightsError(
            f"{path}: holds no state dict under {inside!r} (it has: {found})"[:500],
            hint="check that it is the published file",
        )
    other = [
        f"{name}: {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)
    ]
    if other:
        raise WeightsError(
            f"{path}: {len(other)} entries of the state dict are not tensors",
            details=other[:20],
            hint="check that it is the published file",
        )
    return {str(name): tensor.contiguous().clone() for name, tensor in state.items()}


class _Unpickler(
    pickle.Unpickler
):  # subclassing is the only way to change where names and storages come from
    def __init__(self, stream: IO[bytes], storage: Callable[[str, torch.dtype, int], Storage]) -> None:
        super().__init__(stream)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get((module, name)) or type(str(name), (Stub,), {})

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise WeightsError(
                f"not a plain PyTorch checkpoint (unsupported tensor storage: {str(pid)[:200]})",
                hint="check that it is the published file",
            )
        return self._storage(str(key), dtype, int(numel))


def _rebuild(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise WeightsError(
            "not a plain PyTorch checkpoint (a tensor has no storage)",
            hint="check that it is the published file",
        )
    return storage.values.as_strided(size, stride, offset)  # refuses what lies beyond the storage


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_KNOWN: Final[dict[tuple[str, str], Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): dict,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


def _read_zip(path: Path) -> Any:
    members = {name.split("/", 1)[-1]: info for name, info in members_of(path, packed=False).items()}
    with zipfile.ZipFile(path) as archive:
        if "data.pkl" not in members:
            raise WeightsError(
                "a zip archive, but not one that torch saved (it has no data.pkl)",
                hint="check that it is the published file",
            )
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise WeightsError(
                "the tensors have big-endian byte order, which is not supported",
                hint="save the file on a machine with an x86 or ARM processor",
            )
        loaded: dict[str, Storage] = {}

        def storage(key: str, dtype: torch.dtype, numel: int) -> Storage:
            if key not in loaded:
                info = members[f"data/{key}"]
                if info.file_size < numel * dtype.itemsize:
                    raise WeightsError(
                        f"damaged: the file holds fewer values of tensor storage {key} than it states",
                        hint="download it again",
                    )
                raw = bytearray(archive.read(info))
                loaded[key] = Storage(
                    torch.frombuffer(raw, dtype=dtype, count=numel) if numel else torch.empty(0, dtype=dtype)
                )
            return loaded[key]

        content = archive.read(members["data.pkl"])
        _check(content, 0)
        return _Unpickler(io.BytesIO(content), storage).load()


def _read_legacy(stream: mmap.mmap) -> Any:
    size = len(stream)
    loaded: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, numel: int) -> Storage:
        if numel * dtype.itemsize > size:
            raise WeightsError(
                f"damaged: tensor storage {key} is stated to be longer than the file",
                hint="download it again",
            )
        return loaded.setdefault(key, Storage(torch.empty(numel, dtype=dtype)))

    def load() -> Any:
        start = stream.tell()
        end = _check(stream, start)
        stream.seek(end)
        return _Unpickler(io.BytesIO(stream[start:end]), storage).load()

    if load() != MAGIC:
        raise WeightsError(
            "the file has neither of the two formats of torch.save",
            hint="check that it is the published file",
        )
    load(), load()  # protocol and machine, not needed
    saved, keys = load(), load()
    for key in keys:
        values = loaded[str(key)].values
        count = int.from_bytes(stream.read(8), "little")
        raw = bytearray(stream.read(count * values.dtype.itemsize))
        if count != len(values) or len(raw) != count * values.dtype.itemsize:
            raise WeightsError(
                f"damaged: the file ends before the end of tensor storage {key}", hint="download it again"
            )
        if count:
            values.copy_(torch.frombuffer(raw, dtype=values.dtype))
    return saved


def _check(data: bytes | mmap.mmap, start: int) -> int:
    """Refuse an unsafe pickle: forbidden opcodes (commands), impossible sizes, or keys that are slow to compare.

    Args:
        data: content of the file that holds the pickle.
        start: position of the pickle in `data`.

    Returns:
        Position in `data` of the first byte after the pickle.
    """
    try:
        return check_pickle(data, start, _ALLOWED, KEYS)
    except BadPickle as error:
        raise WeightsError(
            f"refused, because its pickle is unsafe or damaged: {error}",
            hint="check that it is the published file",
        ) from error


def _main(source: str, inside: str, target: str) -> int:
    """Convert a torch file to a safetensors file. `convert` runs this function in a separate process.

    An error is printed as one line of JSON on stderr.

    Args:
        source: path of the torch file.
        inside: key of the state dict in it; "" if the file is the state dict itself.
        target: path of the safetensors file to write.

    Returns:
        The exit code: 0, or 2 after an error.
    """
    from safetensors.torch import save_file

    path = Path(source)
    most = 4 * path.stat().st_size + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        save_file(tensors_of(path, inside), target, metadata={"converted_from": digest_of_file(path)})
    except ErcacheError as error:
        failure = {"message": error.message, "details": list(error.details), "hint": error.hint}
        sys.stderr.write("\n" + json.dumps(failure) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
