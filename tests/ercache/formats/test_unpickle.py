"""The restricted unpickler: what the field has is read, all else is refused by name and leaves no trace."""

import collections
import copyreg
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ercache.errors import UsageError
from ercache.formats.numpy_reconstructors import TABLE
from ercache.formats.unpickle import load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def loaded(content: bytes, folder: Path) -> Any:
    path = folder / "x.pkl"
    path.write_bytes(content)
    return load_pickle(path)


def refusal(content: bytes, folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        loaded(content, folder)
    assert caught.value.exit_code == 2 and caught.value.hint
    return caught.value.message


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype.hasobject:
            return a.shape == b.shape and all(same(x, y) for x, y in zip(a.flat, b.flat, strict=True))
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


PLAIN: dict[str, Any] = {
    "scalars": [None, True, False, 0, -7, 2**80, 1.5, float("inf"), 1 + 2j, "é\n'", b"\xff\0'"],
    "containers": ({1, 2}, frozenset(["a"]), (), [[]], bytearray(b"ab")),
    "arrays": [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.zeros((0, 4)),
        np.array(5, "i2"),
        np.array(["a", "bé"]),
    ],
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bytes": np.array([b"ab", b"c"]),
    "scalar": [np.float32(0.1), np.int64(-1), np.bool_(True)],
    "objects": np.array([[1, 2], "q", np.ones(2, "f4"), None], dtype=object),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_containers_and_arrays_of_every_protocol_are_read_bit_for_bit(
    tmp_path: Path, protocol: int
) -> None:
    assert same(loaded(pickle.dumps(PLAIN, protocol), tmp_path), PLAIN)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_and_default_dicts_become_dicts(tmp_path: Path, protocol: int) -> None:
    kinds = [
        collections.OrderedDict(a=1),
        collections.defaultdict(list, {3: [1]}),
        collections.defaultdict(None, b=2),
    ]
    assert loaded(pickle.dumps(kinds, protocol), tmp_path) == [{"a": 1}, {3: [1]}, {"b": 2}]


def test_all_module_paths_of_numpy_are_known(tmp_path: Path) -> None:
    for protocol in PROTOCOLS:
        content = pickle.dumps([np.arange(3.0), np.float32(2)], protocol)
        for old, new in ((b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")):
            assert same(loaded(_renamed(content, old, new), tmp_path), [np.arange(3.0), np.float32(2)])


def _renamed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Another module path; in the protocols that count, its length and that of the frame change too."""
    if b"\x8c" not in content:
        return content.replace(old + b".", new + b".")
    out = io.BytesIO()
    content = content.replace(content[2:11], b"") if content[2:3] == b"\x95" else content
    for name in (b"multiarray", b"numeric"):
        was, now = old + b"." + name, new + b"." + name
        content = content.replace(b"\x8c" + bytes([len(was)]) + was, b"\x8c" + bytes([len(now)]) + now)
    out.write(content)
    return out.getvalue()


def array_of_python_2(kind: bytes, shape: bytes, raw: bytes) -> bytes:
    """An array as Python 2 and numpy 1 pickled it with protocol 0; `kind` is spelled `f4`, numbers are text."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n(I1\n"
        + shape + b"p7\ncnumpy\ndtype\np8\n(S'" + kind + b"'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'<'\np12\nNNNI-1\nI-1\nI0\n"
        b"tp13\nbI00\nS" + repr(raw)[1:].encode() + b"\np14\ntp15\nb"
    )  # fmt: skip


def test_protocol_0_of_python_2_is_read_with_its_bytes_as_latin_1(tmp_path: Path) -> None:
    values = np.array([[0.1, -0.0], [np.nan, 3e38]], "f4")
    text = array_of_python_2(b"f4", b"(I2\nI2\nt", values.tobytes())
    content = b"(dp16\nS'caf\\xe9'\np17\n" + text + b"s."
    assert same(loaded(content, tmp_path), {"café": values})


def test_protocol_2_of_python_2_is_read(tmp_path: Path) -> None:
    values = np.arange(100, dtype="f8")
    content = (
        b"\x80\x02}q\x00U\x05Ses01](cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"(K\x01Kd\x85cnumpy\ndtype\nq\x03U\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", values.nbytes) + values.tobytes() + b"tbc__builtin__\nset\n]K\x05a\x85Res."
    )  # fmt: skip
    assert same(loaded(content, tmp_path), {"Ses01": [values, {5}]})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(),
            st.binary(),
            hnp.arrays(
                st.sampled_from(["f4", "<f8", ">f2", "u1", "i8", "?", "<U3"]),
                hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
            ),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.text(), inner, max_size=4),
            st.tuples(inner, inner),
        ),
        max_leaves=12,
    ),
    protocol=st.sampled_from(list(PROTOCOLS)),
)
def test_any_plain_data_survives(tmp_path: Path, value: Any, protocol: int) -> None:
    assert same(loaded(pickle.dumps(value, protocol), tmp_path), value)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def nest(inner: Any) -> list[Any]:
    return [
        inner,
        [inner],
        {"a": inner},
        (1, (inner,)),
        np.array([inner, 1], dtype=object),
        {"x": [{"y": (inner,)}]},
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_refused_by_name_anywhere_and_runs_no_code(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for hostile in nest(Calls(os.system, f"touch {trace}")):
        assert "posix.system" in refusal(pickle.dumps(hostile, protocol), tmp_path)
    for hostile in nest(Calls(eval, f"open({str(trace)!r}, 'w')")):
        assert "builtin" in refusal(pickle.dumps(hostile, protocol), tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (np.ma.ones(3), "numpy.ma"),
        (np.rec.array([(1, 2.0)]), "numpy.rec"),
        (np.array(["2020-01-01"], "M8[D]"), "M8"),
        (np.zeros(2, [("a", "f4")]), "V4"),
        (np.float32, "numpy.float32"),
        (np.load, "numpy"),
        (Path("x"), "pathlib"),
        (collections.Counter("a"), "collections.Counter"),
        (Calls(getattr, "x", "y"), "getattr"),
        (Calls(copyreg._reconstructor, object, object, None), "copy"),
        (Calls(bytearray, 10**12), "bytearray"),
        (Calls(bytes, 10**12), "bytes"),
        (Calls(set, 5), "set"),
        (np.ndarray, "numpy.ndarray"),
        (Calls(np.ndarray, (10**6, 10**6)), "numpy.ndarray"),
        (Calls(np.dtype, "O,O"), "O,O"),
        (Calls(np.dtype, "V999999999"), "V999999999"),
    ],
)
def test_other_classes_than_containers_and_arrays_are_refused_by_name(
    tmp_path: Path, hostile: Any, name: str
) -> None:
    for protocol in PROTOCOLS:
        assert name in refusal(pickle.dumps(hostile, protocol), tmp_path)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"(S'true'\nios\nsystem\n.", "os.system"),  # INST
        (b"(cos\nsystem\nS'true'\no.", "os.system"),  # OBJ
        (b"\x80\x02cposix\nsystem\n(U\x04truetR.", "posix.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93)\x81.", "os.system"),  # NEWOBJ
        (b"\x80\x04\x8c\x05numpy\x8c\x0bcore.system\x93.", "numpy.core.system"),  # a dotted name
        (b"cbuiltins\n__import__\n.", "builtins.__import__"),
        (b"Pevil\n.", "PERSID"),
        (b"\x80\x02Nq\x00U\x01xQ.", "BINPERSID"),
        (b"\x80\x02\x82\x05.", "EXT1"),
        (b"\x80\x02\x84\x05\x00\x00\x00.", "EXT4"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_opcodes_that_bypass_names_are_refused(tmp_path: Path, content: bytes, name: str) -> None:
    assert name in refusal(content, tmp_path)


def test_a_registered_extension_code_is_refused_too(tmp_path: Path) -> None:
    copyreg.add_extension("posix", "system", 240)
    try:
        content = pickle.dumps(os.system, 2)
        pickle.loads(content)  # so that the standard unpickler remembers it and asks nobody any more
        assert "EXT1" in refusal(content, tmp_path)
    finally:
        copyreg.remove_extension("posix", "system", 240)


def test_the_table_cannot_be_changed_by_a_pickle(tmp_path: Path) -> None:
    before = {module: dict(names) for module, names in TABLE.items()}
    for module, names in TABLE.items():
        for name in names:
            named = f"c{module}\n{name}\n".encode()
            assert "a state for" in refusal(named + b"(N(dS'name'\nS'x'\nstb.", tmp_path)
            assert "a state for" in refusal(named + b"(dS'_rule'\nNsb.", tmp_path)
    assert {module: dict(names) for module, names in TABLE.items()} == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle at all",
        b"\x80\x02]q\x00",
        pickle.dumps(list(range(1000)))[:-5],
        pickle.dumps(1) + b"more",
        b"\x80\x09N.",
        b"t.",
        b"}]s.",
        b"0.",
        b"\xff.",
        b"]" * 100_000 + b"a" * 99_999 + b".",  # 100,000 lists inside each other
    ],
)
def test_a_damaged_or_impossible_pickle_gives_a_short_error_and_uses_little_memory(
    tmp_path: Path, content: bytes
) -> None:
    assert "usable pickle" in (message := refusal(content, tmp_path)) or "nested" in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x80\x04B\xff\xff\xff\x7fabc.", "more bytes than the file has"),  # 2 GB
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "more bytes than the file has"),  # 2**63
        (b"\x80\x02T\xff\xff\xff\xffabc.", "more bytes than the file has"),  # a negative size
        (b"\x80\x02Nr\xff\xff\xff\xff.", "memo number 4294967295"),
        (b"Np4000000000\n.", "memo number 4000000000"),
        (b"Np-1\n.", "memo number"),
    ],
)
def test_an_impossible_size_is_refused_before_memory_is_allocated(
    tmp_path: Path, content: bytes, told: str
) -> None:
    assert told in refusal(content, tmp_path)


@pytest.mark.parametrize(
    ("kind", "shape", "raw"),
    [
        (b"f4", b"(I1000000000\nI1000000000\nt", b"1234"),
        (b"f4", b"(I-1\nt", b"1234"),
        (b"f4", b"(I2\nt", b"1234"),
        (b"S0", b"(I1000000000\nt", b""),
        (b"U1", b"(I1\nt", b"\xff\xff\xff\xff"),
        (b"O8", b"(I1\nt", b"12345678"),  # an address made of bytes
    ],
)
def test_an_array_whose_bytes_do_not_fit_it_is_refused(
    tmp_path: Path, kind: bytes, shape: bytes, raw: bytes
) -> None:
    assert "refused" in refusal(array_of_python_2(kind, shape, raw) + b".", tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 400), st.sampled_from(list(PROTOCOLS)))
def test_random_bytes_give_no_other_error(tmp_path: Path, noise: bytes, at: int, protocol: int) -> None:
    content = pickle.dumps(PLAIN, protocol)
    try:
        loaded(content[:at] + noise + content[at + len(noise) :], tmp_path)
    except UsageError as error:
        assert error.exit_code == 2
