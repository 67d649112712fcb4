"""The stored result of one feature of one input: its arrays, or why there are none, and what computed it."""

from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ercache.reasons import Reason


@dataclass(frozen=True)
class Record:
    """The result of one feature of one input.

    Attributes:
        arrays: name -> array with T steps (frames, tokens or windows; 1 for a single vector), [T, ...]; empty if there
            are none.
        frames: number of frames, tokens or windows that the arrays are computed from.
        reason: why there are no arrays; None when there are.
        detail: error message of the library or tool, for the reason.
        environment: versions of libraries, device, precision and threads (key `made` in the provenance).
        note: what was lacking in the input, for example frames that could not be decoded; empty if nothing was.
    """

    arrays: dict[str, NDArray[Any]]
    frames: int = 0
    reason: Reason | None = None
    detail: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def pack_record(record: Record) -> bytes:
    """Turn a record (arrays, reason, notes) into bytes for the store; equal records give equal bytes."""
    arrays = {
        name: (a.dtype.str, list(a.shape), np.ascontiguousarray(a).tobytes())
        for name, a in sorted(record.arrays.items())
    }
    reason = record.reason.value if record.reason else None
    # A record without a note is serialised as before notes existed, so that its bytes stay the same.
    note = [record.note] if record.note else []
    return bytes(msgpack.packb([arrays, record.frames, reason, record.detail, record.environment, *note]))


def unpack_record(payload: bytes) -> Record:
    """Return the record that `pack_record` turned into bytes."""
    arrays, frames, reason, detail, environment, *note = msgpack.unpackb(payload)
    read = {
        name: np.frombuffer(data, dtype=dtype).reshape(shape) for name, (dtype, shape, data) in arrays.items()
    }
    return Record(read, frames, Reason(reason) if reason else None, detail, environment, *note)


def no_arrays(reason: Reason) -> Record:
    """Return a record without arrays, for an utterance that has no text or media for a feature.

    Args:
        reason: why it has none.
    """
    return Record({}, reason=reason, environment={})


def finite(record: Record) -> bool:
    """Return whether all array values of a record are finite (neither NaN nor infinite)."""
    return all(np.isfinite(a).all() for a in record.arrays.values() if a.dtype.kind == "f")
