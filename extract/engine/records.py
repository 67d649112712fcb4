"""What the store holds for a unit: its arrays, or the reason why there are none, and what made it."""

from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ercache.reasons import Reason


@dataclass(frozen=True)
class Record:
    """The result of a unit.

    Attributes:
        arrays: name -> [T, ...]; empty when there is a reason.
        frames: frames, tokens or windows that the arrays rest on.
        reason: why there are no arrays; None when there are.
        detail: the tool's own words for the reason.
        note: what is less, or other, than was asked for; empty when nothing is.
        made: versions of libraries, device, precision and threads.
    """

    arrays: dict[str, NDArray[Any]]
    frames: int = 0
    reason: Reason | None = None
    detail: str = ""
    made: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def pack_record(record: Record) -> bytes:
    """A record as bytes; equal records give equal bytes."""
    arrays = {
        name: (a.dtype.str, list(a.shape), np.ascontiguousarray(a).tobytes())
        for name, a in sorted(record.arrays.items())
    }
    reason = record.reason.value if record.reason else None
    note = (
        [record.note] if record.note else []
    )  # records without one stay what they were before there were any
    return bytes(msgpack.packb([arrays, record.frames, reason, record.detail, record.made, *note]))


def unpack_record(payload: bytes) -> Record:
    """The record of a payload."""
    arrays, frames, reason, detail, made, *note = msgpack.unpackb(payload)
    read = {
        name: np.frombuffer(data, dtype=dtype).reshape(shape) for name, (dtype, shape, data) in arrays.items()
    }
    return Record(read, frames, Reason(reason) if reason else None, detail, made, *note)


def no_arrays(reason: Reason) -> Record:
    """A record for an utterance that gives the modality nothing to read."""
    return Record({}, reason=reason, made={})


def finite(record: Record) -> bool:
    """Whether all values of a record are finite."""
    return all(np.isfinite(a).all() for a in record.arrays.values() if a.dtype.kind == "f")
