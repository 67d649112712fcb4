"""Check a pickle without building its objects: its opcodes, its sizes, and the keys of its dictionaries and sets.

A pickle is a list of opcodes (commands) that build objects on a stack; its memo numbers refer to objects built before.
While Python unpickles, it hashes and compares keys, including all tuples inside them. Deeply nested tuples crash the
process. Tuples that hold the same tuple twice, many levels deep, take for ever. Python also trusts the sizes and memo
numbers in the file. This module reads the opcodes first and refuses such files. `pickletools` tells what each opcode
does to the stack. Its own function for reading opcodes is not used, because it fails on Python 2 texts beyond ASCII.
"""

import pickletools
from collections.abc import Collection
from mmap import mmap
from typing import Final

DEEPEST: Final = 200  # nesting of tuples
ALWAYS_ALLOWED: Final = (
    10**6
)  # items of tuples that are accepted in any file; beyond, a file may have as many as it has bytes

# A value on the stack: number of items that hashing it visits (repeated ones counted each time), and nesting depth.
_Value = tuple[int, int]
_SINGLE: Final[_Value] = (1, 0)
# Long integers count as more items than a key may have: an attacker can choose many with the same hash, and Python
# would compare each with all others.
_WIDE: Final[_Value] = (128, 0)
_MARK: Final[_Value] = (0, -1)
_KEYED: Final = {
    "SETITEM": (1, 2),
    "SETITEMS": (1, 2),
    "DICT": (0, 2),
    "ADDITEMS": (1, 1),
    "FROZENSET": (0, 1),
}
_HASHED: Final = ("tuple", "frozenset")  # containers that can be keys
# Width in bytes of a size field in the pickle.
_COUNTED: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_PLAIN, _GET, _PUT, _FRAME, _OTHER, _LONG = range(6)
_KIND: Final = {
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _GET),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _PUT),
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _LONG),
    "FRAME": _FRAME,
}
_DIGITS: Final = {
    "INT": 22,
    "LONG": 22,
    "LONG1": 10,
    "LONG4": 8,
}  # longest argument of a signed 64-bit integer, bytes
_MORE: Final = "needs more bytes than the file has"


class BadPickle(ValueError):
    """A pickle was refused, because it is damaged or unsafe to load. The message says what is wrong."""


class ForbiddenOpcode(BadPickle):
    """A pickle was refused, because it holds an opcode that is not allowed."""


def _described(op: pickletools.OpcodeInfo) -> tuple[str, int, int]:
    """Describe a pickle opcode.

    Returns:
        Three values: its name; how `check_pickle` treats it, one of `_PLAIN`, `_GET`, `_PUT`, `_FRAME`, `_OTHER` and
            `_LONG`; and the size of its argument in bytes. If the size varies, the third value is a negative code of
            `pickletools`, which tells how to find the size in the file.
    """
    plain = not op.stack_before and [kind.name for kind in op.stack_after] not in (["mark"], [])
    kind = _KIND.get(op.name, _PLAIN if plain else _OTHER)
    return op.name, kind, op.arg.n if op.arg else 0


def _effect(op: pickletools.OpcodeInfo) -> tuple[int, bool, str]:
    """Describe what a pickle opcode takes from the unpickler's stack and what it pushes.

    Returns:
        Three values: the number of values that the opcode takes from the stack; whether it first takes the last mark
            (the sign on the stack where a list of items begins) and all values above it, which are not counted; and
            the type of the value that it pushes, "" if it pushes nothing.
    """
    before = [kind.name for kind in op.stack_before]
    marked = "mark" in before
    return (
        before.index("mark") if marked else len(before),
        marked,
        op.stack_after[0].name if op.stack_after else "",
    )


_OF_CODE: Final = {ord(op.code): _described(op) for op in pickletools.opcodes}
_EFFECT: Final = {op.name: _effect(op) for op in pickletools.opcodes}


def check_pickle(data: bytes | mmap, start: int, allowed: Collection[str], most: int = 1) -> int:
    """Check the opcodes (commands), sizes and dictionary keys of one pickle without loading it.

    Args:
        data: content of the file that holds the pickle.
        start: position in `data` at which the pickle starts.
        allowed: names of the allowed opcodes.
        most: largest number of items in a key of a dictionary or set. With 1, no tuple can be a key.

    Returns:
        Position in `data` of the first byte after the pickle.

    Raises:
        BadPickle: an opcode is not allowed, a size or a memo number (which refers to an earlier object) exceeds the
            size of the file, a key has more than `most` items, or the end is missing.
    """
    at, size, largest = start, len(data), max(ALWAYS_ALLOWED, len(data))
    stack: list[_Value] = []
    memo: dict[int, _Value] = {}
    while at < size:
        described = _OF_CODE.get(data[at])
        if described is None:
            raise BadPickle(f"byte {at} is not a pickle opcode")
        name, kind, width = described
        if name not in allowed:
            raise ForbiddenOpcode(f"byte {at} is the pickle opcode {name}")
        begin = at + 1
        end = begin + width if width >= 0 else _end(data, begin, name, width)
        if end > size:
            raise BadPickle(f"{name} at byte {at} {_MORE}")
        if kind == _PLAIN:
            stack.append(_SINGLE)
        elif kind == _PUT:
            number = len(memo) if begin == end else _number(data[begin:end], name, at)
            # Memo numbers count up from 0, and Python allocates memory for the largest one.
            if number > size:
                raise BadPickle(f"memo number {number} in a file of {size} bytes")
            memo[number] = _top(stack, at)
        elif kind == _GET:
            number = _number(data[begin:end], name, at)
            if number not in memo:
                raise BadPickle(f"byte {at}: the memo has no number {number}")
            stack.append(memo[number])
        elif kind == _LONG:
            stack.append(_SINGLE if end - begin <= _DIGITS[name] else _WIDE)
        elif kind == _FRAME:
            if int.from_bytes(data[begin:end], "little") > size - end:
                raise BadPickle(f"{name} at byte {at} {_MORE}")
        elif name == "STOP":
            return end
        else:
            _apply(name, stack, most, largest, at)
        at = end
    raise BadPickle("it ends too early: the download or the copy may have been cut")


def _end(data: bytes | mmap, begin: int, name: str, width: int) -> int:
    if width == pickletools.UP_TO_NEWLINE:
        end = begin
        for _ in range(2 if name in ("GLOBAL", "INST") else 1):
            end = data.find(b"\n", end) + 1
            if end == 0:
                raise BadPickle(f"the line of {name} at byte {begin - 1} has no end")
        return end
    counted = _COUNTED[width]
    # A negative size of BINSTRING is read as a huge one here, and is refused as such.
    return begin + counted + int.from_bytes(data[begin : begin + counted], "little")


def _number(argument: bytes, name: str, at: int) -> int:
    if name not in ("PUT", "GET"):
        return int.from_bytes(argument, "little")
    text = argument.strip()
    if not (text.isdigit() and len(text) < 20):
        raise BadPickle(f"byte {at}: memo number {text[:20]!r}")
    return int(text)


def _top(stack: list[_Value], at: int) -> _Value:
    if not stack or stack[-1] is _MARK:
        raise BadPickle(f"byte {at}: the stack is empty")
    return stack[-1]


def _apply(name: str, stack: list[_Value], most: int, largest: int, at: int) -> None:
    """Update `stack`, which imitates the unpickler's stack, by what one opcode takes from it and pushes.

    Instead of each value, `stack` holds two numbers: how many items the value has, and how deeply they are nested. A
    list, dictionary or set counts as one item, because Python refuses it as a key.
    """
    if name == "MARK":
        stack.append(_MARK)
        return
    if name == "POP" and stack and stack[-1] is _MARK:
        stack.pop()
        return
    count, marked, given = _EFFECT[name]
    above: list[_Value] = []
    if marked:
        above = _above_mark(stack, at)
    below = stack[-count:] if count else []
    if len(below) < count or any(value is _MARK for value in below):
        raise BadPickle(f"byte {at}: {name} finds too little on the stack")
    taken = below + above
    del stack[len(stack) - count :]
    if name in _KEYED:
        first, step = _KEYED[name]
        if any(items > most for items, _ in taken[first::step]):
            kind = "not a plain number or text" if most == 1 else f"more than {most} items"
            raise BadPickle(f"byte {at}: a key of a dictionary or set that is {kind}")
    if name == "DUP":
        stack += [taken[0], taken[0]]
    elif given in _HASHED:
        stack.append(_joined(taken, largest, at))
    elif given:
        stack.append(_SINGLE)


def _above_mark(stack: list[_Value], at: int) -> list[_Value]:
    """Remove the last mark and all values above it from `stack`. Return these values in stack order."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is _MARK:
            above = stack[place + 1 :]
            del stack[place:]
            return above
    raise BadPickle(f"byte {at}: no mark on the stack")


def _joined(parts: list[_Value], largest: int, at: int) -> _Value:
    items = depth = 0
    for count, inside in parts:
        items += count
        depth = max(depth, inside)
    if depth >= DEEPEST:
        raise BadPickle(f"byte {at}: tuples nested more than {DEEPEST} levels deep")
    if items > largest:
        raise BadPickle(f"byte {at}: tuples that repeat the same tuples, {items:,} items in all")
    return 1 + items, depth + 1
