"""The store: nothing finished is lost, nothing torn is believed."""

import errno
import fcntl
import hashlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.errors import WorkError
from ercache.reasons import Reason
from extract.engine import segment as segment_file
from extract.engine import store as store_file
from extract.engine.records import Record, pack_record, unpack_record
from extract.engine.segment import HEAD
from extract.engine.store import GROUP_BYTES, GROUP_RECORDS, Store


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


def test_all_that_waits_is_written_in_a_pause_when_the_last_commit_is_a_while_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, commits = [100.0], list[bool]()
    monkeypatch.setattr(store_file.time, "monotonic", lambda: now[0])
    with Store(tmp_path, commits.append) as store:
        store.put(key(1), b"one")
        store.commit_if_due()
        assert commits == []
        now[0] += 2
        store.put(key(2), b"two")
        assert commits == []  # more records of the shard may follow
        store.commit_if_due()
        assert commits == [True, False]
        (segment,) = tmp_path.glob("*.seg")
        assert b"one" in segment.read_bytes() and b"two" in segment.read_bytes()
        store.commit_if_due()
        assert commits == [True, False]


def test_what_waits_for_a_commit_is_bounded_in_bytes(tmp_path: Path) -> None:
    commits: list[bool] = []
    with Store(tmp_path, commits.append) as store:
        store.put(key(1), bytes(GROUP_BYTES - 1))
        assert commits == []
        store.put(key(2), b"x")
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


def found_behind_a_damaged_head(folder: Path) -> list[int]:
    """Which of five records are found when the head of the second is damaged."""
    segment = filled(folder)
    data = bytearray(segment.read_bytes())
    data[HEAD.size + len(b"payload 0")] ^= 1
    segment.write_bytes(data)
    with Store(folder) as store:
        return [n for n in range(5) if key(n) in store]


def test_a_damaged_head_costs_its_record_and_not_those_after_it(tmp_path: Path) -> None:
    assert found_behind_a_damaged_head(tmp_path) == [0, 2, 3, 4]


def test_a_damaged_head_is_passed_over_wherever_a_block_of_the_search_ends(tmp_path: Path) -> None:
    found_behind_a_damaged_head(tmp_path)
    (segment,) = segment_file.segments(tmp_path)
    for block in range(4, 12):
        with segment.open("rb") as stream:
            assert [found.hex() for _, found, _ in segment_file.record_heads(stream, block=block)] == [
                key(n) for n in (0, 2, 3, 4)
            ]


def test_records_are_found_where_a_gc_put_them_meanwhile(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    with Store(tmp_path) as store:
        shutil.copy(segment, tmp_path / "f.seg")
        segment.unlink()
        assert [store.get(key(n)) for n in range(5)] == [b"payload %d" % n for n in range(5)]
        (tmp_path / "f.seg").unlink()
        assert store.get(key(0)) is None


def test_a_writer_whose_segment_was_taken_for_a_dead_one_begins_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, taken = fcntl.flock, list[Path]()

    def late(fd: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.glob("*.seg"))
            taken[0].unlink()
        flock(fd, how)

    monkeypatch.setattr(store_file.fcntl, "flock", late)
    filled(tmp_path)
    with Store(tmp_path) as store:
        assert all(key(n) in store for n in range(5))


def child(folder: Path, limit: int) -> str:
    """This module in a process of its own: puts 8 payloads of 100 kB; what it says."""
    command = [sys.executable, __file__, str(folder), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def put_much(folder: Path, limit: int) -> None:
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with Store(folder) as store:
            for n in range(8):
                store.put(key(n), bytes([n]) * 100_000)
            store.commit()
    except WorkError as error:
        print("WorkError", error)
        with Store(folder) as store:
            store.put(key(9), b"small")
            store.commit()
            print([n for n in range(10) if key(n) in store])


def assert_told_and_usable(folder: Path, told: str, finished: list[int]) -> None:
    for words in ("WorkError", str(folder), "0.8 MB needed", "finished work is kept", "run again"):
        assert words in told
    assert str([*finished, 9]) in told, "the same store goes on"
    assert not [p for p in folder.iterdir() if p.suffix != ".seg"]
    with Store(folder) as store:
        assert [n for n in range(10) if store.get(key(n))] == [*finished, 9]
        assert all(store.get(key(n)) == bytes([n]) * 100_000 for n in finished)
    records = sum(p.stat().st_size for p in folder.glob("*.seg"))
    assert records == len(finished) * (HEAD.size + 100_000) + HEAD.size + 5, "the torn tail was cut"


def test_on_a_full_disk_whole_records_are_kept_and_the_torn_one_is_cut(tmp_path: Path) -> None:
    told = child(tmp_path, 350_000)
    assert_told_and_usable(tmp_path, told, [0, 1, 2])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_small_file_system_too(small_disk: Path) -> None:
    told = child(small_disk, 0)
    assert os.strerror(errno.ENOSPC) in told
    assert_told_and_usable(small_disk, told, [0, 1, 2, 3, 4])


def test_an_interrupted_commit_is_made_up_for_when_the_store_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = store_file.append, list[bytes]()

    def interrupted(fd: int, name: bytes, payload: bytes) -> None:
        calls.append(name)
        if len(calls) == 3:
            os.write(fd, b"torn")
            raise KeyboardInterrupt
        append(fd, name, payload)

    monkeypatch.setattr(store_file, "append", interrupted)
    with pytest.raises(KeyboardInterrupt), Store(tmp_path) as store:
        for n in range(5):
            store.put(key(n), b"payload %d" % n)
        store.commit()
    (segment,) = tmp_path.glob("*.seg")
    assert segment.stat().st_size == 5 * (HEAD.size + len(b"payload 0"))
    with Store(tmp_path) as store:
        assert all(store.get(key(n)) == b"payload %d" % n for n in range(5))


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
    assert back.frames == 7 and back.reason is None and back.environment == {"device": "cpu"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype
    gone = Record({}, reason=Reason.NO_FACE, detail="words of the tool")
    assert unpack_record(pack_record(gone)) == gone


if __name__ == "__main__":
    put_much(Path(sys.argv[1]), int(sys.argv[2]))
