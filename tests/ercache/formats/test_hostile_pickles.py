"""Pickles that are plain data in a shape that ends a process or fills its memory are refused at once, in words."""

import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ercache.errors import UsageError
from ercache.formats.unpickle import load_pickle
from ercache.pickle_check import BadPickle, check_pickle
from tests.support.exchange_files import brought, meld, meld_tuple
from tests.support.limited import SECONDS, Outcome, outcomes

PREPARE = """
from ercache.errors import ErcacheError
from ercache.formats.unpickle import load_pickle as read
"""
DEEP = 150_000
FEW, MANY = 10, 60  # 2^60 ways through a file


def put(number: int) -> bytes:
    return b"r" + struct.pack("<I", number)


def get(number: int) -> bytes:
    return b"j" + struct.pack("<I", number)


def text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


def shared_tuples(levels: int = FEW) -> bytes:
    return b"N\x85" + b"".join(put(n) + get(n) + b"\x86" for n in range(1, levels))


def shared_lists(outer_first: bool) -> bytes:
    """Eight lists, each holding the next a thousand times; filled from inside, or from outside."""
    made = b"".join(b"]" + put(n) + b"0" for n in range(9))
    order = range(8) if outer_first else range(7, -1, -1)
    return made + b"".join(get(n) + b"(" + get(n + 1) * 1000 + b"e0" for n in order) + get(0)


def calls(name: bytes, first: bytes, arguments: bytes, count: int) -> bytes:
    """One big value, and many calls with it."""
    return first + put(1) + b"0](c" + name + put(2) + b"0" + (get(2) + arguments + b"R") * count + b"e"


def array_state(shape: bytes) -> bytes:
    return (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01(" + shape
            + b"tcnumpy\ndtype\nU\x02f4\x85R\x89U\x00tb")  # fmt: skip


WIDE = b"\x8a\xf0" + b"\x7f" * 240  # an integer of 240 bytes
COLLIDING = b"".join(b"\x8a\x14" + (n * (2**61 - 1)).to_bytes(20, "little") + b"N" for n in range(200_000))
BIG = text(b"x" * 10_000_000)
BOMBS: dict[str, tuple[bytes, str]] = {
    "a key of tuples inside each other": (b"}N" + b"\x85" * DEEP + b"Ns", "tuples nested"),
    "a key of many deep tuples": (b"}(N" + b"\x85" * DEEP + b"Nu", "tuples nested"),
    "a dictionary of such keys": (b"(N" + b"\x85" * DEEP + b"Nd", "tuples nested"),
    "a deep tuple that is a value": (b"N" + b"\x85" * DEEP, "tuples nested"),
    "a key of tuples shared many times": (b"}" + shared_tuples(MANY) + b"Ns", "repeat the same tuples"),
    "a value of such": (b"]" + shared_tuples(MANY) + b"a", "repeat the same tuples"),
    "a key of shared tuples": (b"}" + shared_tuples() + b"Ns", "a key"),
    "a member of a set of shared tuples": (b"\x8f(" + shared_tuples() + b"\x90", "a key"),
    "a member of a frozenset of shared tuples": (b"(" + shared_tuples() + b"\x91", "a key"),
    "a set made by a call of shared tuples": (b"c__builtin__\nset\n](" + shared_tuples() + b"e\x85R", "set of other"),
    "a frozenset made so": (b"c__builtin__\nfrozenset\n](" + shared_tuples() + b"e\x85R", "frozenset of other"),
    "a dictionary made so": (b"ccollections\nOrderedDict\n](" + shared_tuples() + b"N\x86e\x85R", "a dict of other"),
    "keys that are frozensets": (b"}(K\x01\x91Ns", "a key"),
    "keys of equal hash": (b"}(" + COLLIDING + b"u", "a key"),
    "a type spelled by shared tuples": (shared_tuples() + put(99) + b"0cnumpy\ndtype\n" + get(99) + b"\x85R", "tuple"),
    "lists inside each other": (b"]" * DEEP + b"a" * (DEEP - 1), "nested more than"),
    "shared lists": (shared_lists(outer_first=False), "same content many times"),
    "shared lists that are filled late": (shared_lists(outer_first=True), "same content many times"),
    "a list that holds itself": (b"]" + put(0) + get(0) + b"a", "contains itself"),
    "one text in many places": (BIG + put(1) + b"0](" + get(1) * 100_000 + b"e", "same content many times"),
    "one text encoded many times": (calls(b"_codecs\nencode\n", BIG, get(1) + b"\x85", 5000), "same content many"),
    "one list copied many times": (
        calls(b"builtins\nlist\n", b"(" + b"N" * 100_000 + b"l", get(1) + b"\x85", 50_000), "same content many times"),
    "one array made many times": (
        b"cnumpy\ndtype\nU\x02u1\x85R" + put(3) + b"0"
        + calls(b"numpy.core.numeric\n_frombuffer\n", b"B" + BIG[1:],
                b"(" + get(1) + get(3) + b"J" + struct.pack("<i", 10_000_000) + b"\x85U\x01Ct", 5000),
        "same content many times"),
    "an array of a shape of wide integers": (array_state(WIDE * 50_000), "shape"),
    "an array of more than there are atoms": (array_state(b"\x8a\x08" + b"\xff" * 7 + b"\x7f"), "shape"),
    "an integer of megabytes": (b"\x8b" + struct.pack("<i", 10_000_000) + b"\x7f" * 10_000_000, "LONG4"),
    "an integer of megabytes in digits": (b"L" + b"9" * 5_000_000 + b"L\n", "digits"),
    "a frame beyond the file": (b"\x95" + struct.pack("<Q", 2**40) + b"N", "more bytes than the file has"),
    "bytes beyond the file": (b"\x8e" + struct.pack("<Q", 2**40) + b"N", "more bytes than the file has"),
    "nothing but marks": (b"(" * 1_000_000, "usable pickle"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("bombs")
    files = {name: folder / f"{n}.pkl" for n, name in enumerate(BOMBS)}
    for name, path in files.items():
        path.write_bytes(b"\x80\x04" + BOMBS[name][0] + b".")
    return outcomes(files, PREPARE)


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_bomb_is_refused_quickly_with_a_message(found: dict[str, Outcome], name: str) -> None:
    assert BOMBS[name][1] in found[name].told and "->" in found[name].told
    assert found[name].seconds < SECONDS


@pytest.mark.parametrize("form", ["mmgcn", "cosmic", "mmsa", "mult"])
def test_every_format_that_reads_pickles_refuses_a_bomb(tmp_path: Path, form: str) -> None:
    path = tmp_path / "f.pkl"
    path.write_bytes(b"\x80\x04}" + shared_tuples() + b"Ns.")
    with pytest.raises(UsageError, match="a key of a dictionary or set that is not a plain number or text"):
        brought(path, form, meld(), tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, 2: "b", None: 3, True: 4, 1.5: 5, b"x": 6, 2**63: 7, -(2**63): 8},
        {np.int64(3): 1, np.str_("x"): 2, np.float32(0.5): 3},
        [{1, "a", 2.5}, frozenset({"b", 7}), (1, (2, (3,))), ()],
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_usual_keys_are_read(tmp_path: Path, value: Any, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    assert load_pickle(tmp_path / "x.pkl") == value


def test_repeated_content_is_read(tmp_path: Path) -> None:
    labels, array = {n: [n] * 9 for n in range(1000)}, np.arange(10**6, dtype="f4")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps((labels, labels, [array] * 3), 4))
    value = load_pickle(tmp_path / "x.pkl")
    assert value[0] is value[1] and value[2][0] is value[2][2] and value[2][1].tobytes() == array.tobytes()


def test_a_matrix_of_tuples_is_read(tmp_path: Path) -> None:
    matrix = tuple((float(n),) * 1000 for n in range(1200))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(matrix, 2))
    assert load_pickle(tmp_path / "x.pkl") == matrix


def long_text(content: list[Any]) -> None:
    content[3][0] = [["x" * 100_000, *[0.0] * 1_000_000], [0.0]]


def text_array(content: list[Any]) -> None:
    content[3][0] = [np.array(["x" * 1000] * 10), [0.0]]


@pytest.mark.parametrize("change", [long_text, text_array])
def test_a_row_of_texts_is_refused_before_it_becomes_an_array(
    tmp_path: Path, change: Callable[[list[Any]], None]
) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    change(content)
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    with pytest.raises(UsageError, match="cannot be features"):
        brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)


def test_tuples_may_be_keys_if_allowed() -> None:
    names = {op.name for op in pickletools.opcodes}
    data = pickle.dumps({(1, "a"): 2})
    assert check_pickle(data, 0, names, most=3) == len(data)
    with pytest.raises(BadPickle, match="more than 2 items"):
        check_pickle(data, 0, names, most=2)
