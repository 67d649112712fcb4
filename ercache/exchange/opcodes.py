"""A look at a pickle before it is read: only opcodes that plain data has, and no size that its bytes do not back.

The standard unpickler takes sizes and memo numbers on trust (a memo number alone can ask for gigabytes), and takes
extension codes past `find_class`; both are settled here, without building anything.
"""

import pickletools
from typing import Final

from ercache.errors import UsageError

# What builds numbers, texts, containers and calls of names; the names are looked at by `unpickle`, and told by it.
_BUILDING: Final = (
    "INT LONG LONG1 LONG4 FLOAT BINFLOAT BININT BININT1 BININT2 NONE NEWTRUE NEWFALSE STRING BINSTRING "
    "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS "
    "EMPTY_SET ADDITEMS FROZENSET POP DUP MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE "
    "GLOBAL STACK_GLOBAL REDUCE BUILD INST OBJ NEWOBJ NEWOBJ_EX PROTO FRAME STOP"
)
_ALLOWED: Final = frozenset(_BUILDING.split())
_OF_CODE: Final = {ord(op.code): op for op in pickletools.opcodes}
# Sizes that stand in the stream, in bytes; texts that end with a newline have none.
_COUNTED: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_LINES: Final = {"GLOBAL": 2, "INST": 2}  # arguments of two lines
_MEMO: Final = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


def check_opcodes(data: bytes, name: str) -> None:
    """Refuse a pickle that is not plain data.

    Args:
        data: the whole pickle.
        name: of the file, for messages.

    Raises:
        UsageError: an opcode that goes past the names, a size beyond the file, no end, or bytes after the end.
    """
    at = 0
    while at < len(data):
        op = _OF_CODE.get(data[at])
        if op is None:
            raise _damaged(name, f"byte {at} is no pickle opcode")
        if op.name not in _ALLOWED:
            raise UsageError(
                f"{name}: refused, byte {at} is the pickle opcode {op.name}, which plain data does not need",
                hint="nothing of the file was run; ask its makers for plain arrays (.npy, .npz, .safetensors)",
            )
        start = at + 1
        at = start if op.arg is None else _end_of(data, start, op.name, op.arg.n, name)
        if op.name in _MEMO:
            _check_memo(data[start:at], op.name, len(data), name)
        if op.name == "STOP":
            if at < len(data):
                raise _damaged(name, f"{len(data) - at} bytes follow the end of the pickle")
            return
    raise _damaged(name, "it ends too early: the download or the copy may have been cut")


def _end_of(data: bytes, start: int, opcode: str, size: int, name: str) -> int:
    if size == pickletools.UP_TO_NEWLINE:
        end = start
        for _ in range(_LINES.get(opcode, 1)):
            end = data.find(b"\n", end) + 1
            if end == 0:
                raise _damaged(name, f"the line of {opcode} at byte {start} has no end")
        return end
    width = _COUNTED.get(size, 0)
    # A negative size of BINSTRING reads as a huge one here and is refused with it.
    counted = int.from_bytes(data[start : start + width], "little") if width else size
    end = start + width + counted
    if end > len(data):
        raise _damaged(name, f"{opcode} at byte {start} asks for more bytes than the file has")
    return end


def _check_memo(argument: bytes, opcode: str, most: int, name: str) -> None:
    """Picklers number one by one, below the size of the file; the reader clears as much memory as the number says."""
    text = argument.strip()
    if opcode == "PUT" and not (text.isdigit() and len(text) < 20):
        raise _damaged(name, f"memo number {text[:20]!r}")
    number = int(text) if opcode == "PUT" else int.from_bytes(argument, "little")
    if number > most:
        raise _damaged(name, f"memo number {number} in a file of {most} bytes")


def _damaged(name: str, what: str) -> UsageError:
    return UsageError(f"{name}: not a usable pickle ({what})", hint="compare its size with the original")
