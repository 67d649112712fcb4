"""Check the opcodes (commands) of a pickle before it is loaded, and refuse it if it holds more than plain data."""

from typing import Final

from ercache.errors import UsageError
from ercache.pickle_check import BadPickle, ForbiddenOpcode, check_pickle

# Opcodes that build numbers, texts and containers, and that call names. `unpickle` checks the names. LONG4 (integers of
# more than 255 bytes) is not allowed.
_BUILDING: Final = (
    "INT LONG LONG1 FLOAT BINFLOAT BININT BININT1 BININT2 NONE NEWTRUE NEWFALSE STRING BINSTRING "
    "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS "
    "EMPTY_SET ADDITEMS FROZENSET POP DUP MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE "
    "GLOBAL STACK_GLOBAL REDUCE BUILD INST OBJ NEWOBJ NEWOBJ_EX PROTO FRAME STOP"
)
_ALLOWED: Final = frozenset(_BUILDING.split())


def check_opcodes(data: bytes, name: str) -> None:
    """Refuse a pickle that holds more than plain data, or dictionary keys other than numbers and texts.

    Args:
        data: content of the whole file.
        name: name of the file, for error messages.

    Raises:
        UsageError: an opcode could load a function or class without a check of its name, a size exceeds the file, a
            container is a dictionary key, the end is missing, or bytes follow the end.
    """
    try:
        end = check_pickle(data, 0, _ALLOWED)
    except ForbiddenOpcode as error:
        raise UsageError(
            f"{name}: refused, because {error}, which plain data does not need",
            hint="no code of the file was run; ask its authors for plain arrays (.npy, .npz, .safetensors)",
        ) from error
    except BadPickle as error:
        raise _damaged(name, str(error)) from error
    if end < len(data):
        raise _damaged(name, f"{len(data) - end} bytes follow the end of the pickle")


def _damaged(name: str, what: str) -> UsageError:
    return UsageError(
        f"{name}: not a usable pickle ({what})",
        hint="compare the size of this copy with the size of the original file",
    )
