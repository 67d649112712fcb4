"""The store: nothing finished is lost, nothing torn is believed."""

import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.reasons import Reason
from extract.engine.records import Record, pack_record, unpack_record
from extract.engine.store import GROUP_RECORDS, HEAD, Store


def key(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def filled(folder: Path, count: int = 5) -> Path:
    with Store(folder) as store:
        for n in range(count):
            store.put(key(n), b"payload %d" % n)
    (segment,) = folder.glob("*.seg")
    return segment


def test_what_is_put_is_found_in_this_run_and_in_the_next(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(key(1), b"one")
        assert store.get(key(1)) == b"one"
        assert key(1) in store and key(2) not in store and store.get(key(2)) is None
    with Store(tmp_path) as store:
        assert store.get(key(1)) == b"one"


def test_records_are_written_in_groups(tmp_path: Path) -> None:
    commits: list[bool] = []
    with Store(tmp_path, commits.append) as store:
        for n in range(GROUP_RECORDS - 1):
            store.put(key(n), b"x")
        assert commits == []
        store.put(key(GROUP_RECORDS), b"x")
        assert commits == [True, False]


def test_a_tail_torn_at_any_byte_costs_its_record_only(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    whole = segment.read_bytes()
    record = HEAD.size + len(b"payload 0")
    for size in range(len(whole) + 1):
        segment.write_bytes(whole[:size])
        with Store(tmp_path) as store:
            found = [n for n in range(5) if store.get(key(n)) == b"payload %d" % n]
        assert found == list(range(size // record))
        assert segment.stat().st_size == size // record * record


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 10**6))
def test_a_flipped_bit_never_gives_a_wrong_payload(tmp_path: Path, bit: int) -> None:
    folder = tmp_path / str(bit)
    segment = filled(folder)
    data = bytearray(segment.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    segment.write_bytes(data)
    with Store(folder) as store:
        assert all(store.get(key(n)) in (None, b"payload %d" % n) for n in range(5))


def test_a_damaged_record_is_not_done_and_its_newer_copy_is_used(tmp_path: Path) -> None:
    segment = filled(tmp_path, 1)
    data = segment.read_bytes()
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with Store(tmp_path) as store:
        assert key(0) not in store
        store.put(key(0), b"payload 0")
    with Store(tmp_path) as store:
        assert store.get(key(0)) == b"payload 0"


def test_a_damaged_head_costs_its_record_and_not_those_after_it(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    data = bytearray(segment.read_bytes())
    data[HEAD.size + len(b"payload 0")] ^= 1
    segment.write_bytes(data)
    with Store(tmp_path) as store:
        assert [n for n in range(5) if key(n) in store] == [0, 2, 3, 4]


def _write_many(folder: str, start: int) -> None:
    with Store(Path(folder)) as store:
        for n in range(start, start + 300):
            store.put(key(n), b"%d" % n)
            if n % 50 == 0:
                store.commit()


def test_two_runs_write_one_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_write_many, args=(str(tmp_path), start)) for start in (0, 1000)]
    for run in runs:
        run.start()
    while any(run.is_alive() for run in runs):
        with Store(tmp_path):
            pass  # opening while others write must neither fail nor cut their segments
        for run in runs:
            run.join(0.05)
    assert [run.exitcode for run in runs] == [0, 0]
    with Store(tmp_path) as store:
        assert all(store.get(key(n)) == b"%d" % n for start in (0, 1000) for n in range(start, start + 300))


def test_the_store_lies_where_the_machine_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from extract.engine import default_store

    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path))
    assert default_store() == tmp_path
    monkeypatch.delenv("ERCACHE_STORE")
    assert default_store().parts[-2:] == ("ercache", "store")
    assert os.access(default_store().parents[1], os.F_OK)


def test_a_record_survives_its_bytes() -> None:
    import numpy as np

    arrays = {"b": np.arange(6, dtype="f4").reshape(2, 3), "a": np.zeros((0, 4), "i4")}
    record = Record(arrays, 7, None, "", {"device": "cpu"})
    back = unpack_record(pack_record(record))
    assert back.frames == 7 and back.reason is None and back.made == {"device": "cpu"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype
    gone = Record({}, reason=Reason.NO_FACE, detail="words of the tool")
    assert unpack_record(pack_record(gone)) == gone
