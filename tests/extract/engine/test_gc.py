"""The gc of the store: it frees what no extraction would look for, and nothing else, whenever it is killed."""

import hashlib
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from ercache.errors import WorkError
from ercache.manifest import Manifest
from extract.engine import Feature, Store, gc
from extract.engine.gc import Garbage, NeededRecords, collect_garbage, needed_records
from extract.engine.plan import make_plan
from extract.engine.records import Record, pack_record
from extract.engine.segment import HEAD, segments
from tests.support.toy_echo import ENGINE, corpus, echo, extract, looks


def key(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def payload(n: int) -> bytes:
    return pack_record(Record({"pooled": np.full((1, 4), n, "f4")}, n))


def filled(folder: Path, numbers: range) -> Path:
    """A store with one more segment that holds these records."""
    before = set(segments(folder))
    with Store(folder) as store:
        for n in numbers:
            store.put(key(n), payload(n))
    (segment,) = set(segments(folder)) - before
    return segment


def held(folder: Path) -> list[int]:
    with Store(folder) as store:
        return [n for n in range(20) if store.get(key(n)) == payload(n)]


def needs(*numbers: int) -> NeededRecords:
    return NeededRecords({bytes.fromhex(key(n)) for n in numbers})


def freed(folder: Path, manifest: Manifest, *features: Feature) -> Garbage:
    found = needed_records([manifest], features, ENGINE, folder / "caches")
    return collect_garbage(folder / "store", found, free=True)


def test_an_extraction_after_a_gc_reuses_the_packed_cache_and_computes_nothing(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b", "nothing", "a"), echo()
    result = extract(tmp_path, manifest, feature)
    data = result.files[0].read_bytes()
    size = sum(p.stat().st_size for p in segments(tmp_path / "store"))
    garbage = freed(tmp_path, manifest, feature)
    assert garbage == Garbage({"packed": 3}, size, 0, 0)
    assert segments(tmp_path / "store") == []
    again = extract(tmp_path, manifest, feature)
    assert (again.done, again.reused) == (0, 3)
    assert again.files[0].read_bytes() == data


def test_it_only_counts_when_it_is_not_told_to_free(tmp_path: Path) -> None:
    segment = filled(tmp_path, range(4))
    before = segment.read_bytes()
    garbage = collect_garbage(tmp_path, needs(1))
    assert garbage.records == {"unneeded": 3} and garbage.kept == 1
    assert garbage.bytes == len(before) - HEAD.size - len(payload(1))
    assert segment.read_bytes() == before


def test_what_is_not_packed_yet_is_kept(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b", "c"), echo()
    first = extract(tmp_path, manifest, feature)
    for path in first.files:
        path.unlink()
    garbage = freed(tmp_path, manifest, feature)
    assert (garbage.records, garbage.kept) == ({}, 3)
    assert extract(tmp_path, manifest, feature).done == 0


def test_a_damaged_cache_file_holds_nothing(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b"), echo()
    (path,) = extract(tmp_path, manifest, feature).files
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert freed(tmp_path, manifest, feature).kept == 2


def test_a_unit_that_another_feature_still_has_to_pack_is_kept(tmp_path: Path) -> None:
    """Two names of one encoder and params have the same units, and each looks in its own files only."""
    manifest = corpus("a", "b")
    extract(tmp_path, manifest, echo("one"))
    assert freed(tmp_path, manifest, echo("one"), echo("two")).kept == 2
    assert freed(tmp_path, manifest, echo("one")).records == {"packed": 2}


def test_results_of_old_params_and_of_old_texts_are_garbage(tmp_path: Path) -> None:
    extract(tmp_path, corpus("a", "old"), echo())
    extract(tmp_path, corpus("a", "new"), echo(scale=2.0))
    garbage = freed(tmp_path, corpus("a", "new"), echo(scale=3.0))
    assert garbage.records == {"unneeded": 2, "packed": 2} and garbage.kept == 0


def table() -> bytes:
    boxes, points = np.zeros((1, 4), "f4"), np.zeros((1, 5, 2), "f4")
    return pack_record(Record({"boxes": boxes, "probabilities": np.ones(1, "f4"), "points": points}, 1))


def test_face_detections_are_kept_until_every_feature_with_faces_is_packed(tmp_path: Path) -> None:
    manifest = corpus("a", "b", video=True)
    units = make_plan(manifest, manifest.utterances, [looks()], ENGINE).keys["looks"]
    with Store(tmp_path / "store") as store:
        store.put(key(0), table())
        store.put(key(1), payload(1))
    assert freed(tmp_path, manifest, looks()).records == {"unneeded": 1}
    with Store(tmp_path / "store") as store:
        assert store.get(key(0)) == table()
    packed = {bytes.fromhex(str(unit)) for unit in units.values()}
    needed = needed_records([manifest], [looks()], ENGINE, tmp_path / "caches", find_packed=lambda *_: packed)
    assert collect_garbage(tmp_path / "store", needed, free=True).records == {"unneeded": 1}
    assert segments(tmp_path / "store") == []


def test_duplicates_damaged_records_and_torn_tails_are_freed(tmp_path: Path) -> None:
    first, second = filled(tmp_path, range(3)), filled(tmp_path, range(1, 5))
    with second.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    with first.open("ab") as stream:
        stream.write(b"torn")
    size = first.stat().st_size + second.stat().st_size
    garbage = collect_garbage(tmp_path, NeededRecords(needs(0, 1, 2, 3, 4).units), free=True)
    assert garbage.records == {"duplicate": 2, "damaged": 1} and garbage.kept == 4
    assert held(tmp_path) == [0, 1, 2, 3]
    assert garbage.bytes == size - sum(p.stat().st_size for p in segments(tmp_path))


def test_a_segment_without_garbage_is_left_as_it_is(tmp_path: Path) -> None:
    clean, dirty = filled(tmp_path, range(3)), filled(tmp_path, range(3, 6))
    before = clean.stat().st_mtime_ns
    collect_garbage(tmp_path, needs(0, 1, 2, 4), free=True)
    assert clean.stat().st_mtime_ns == before and not dirty.exists()
    assert held(tmp_path) == [0, 1, 2, 4]


def test_a_segment_that_a_run_writes_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    with Store(tmp_path) as running:
        running.put(key(5), payload(5))
        running.commit()
        garbage = collect_garbage(tmp_path, needs(1), free=True)
        assert garbage.busy == 1 and garbage.records == {"unneeded": 1}
        running.put(key(6), payload(6))
        running.commit()
        assert running.get(key(1)) == payload(1), "found again where the gc put it"
        assert running.get(key(0)) is None
    assert held(tmp_path) == [1, 5, 6]


def _write_many(folder: str, begun: "multiprocessing.synchronize.Event") -> None:  # type: ignore[name-defined]
    for n in range(10, 20):
        with Store(Path(folder)) as store:  # a segment each
            store.put(key(n), payload(n))
            begun.set()


def test_a_gc_while_another_process_writes_costs_nothing_that_is_needed(tmp_path: Path) -> None:
    filled(tmp_path, range(10))
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    run = context.Process(target=_write_many, args=(str(tmp_path), begun))
    run.start()
    assert begun.wait(60)
    rounds = 0
    while run.is_alive() or rounds == 0:
        collect_garbage(tmp_path, needs(*range(1, 20, 2), *range(10, 20)), free=True)
        rounds += 1
    run.join()
    assert run.exitcode == 0
    assert held(tmp_path) == [1, 3, 5, 7, 9, *range(10, 20)]


INSTANTS = ("replace", "fsync", "unlink", "write")


def _killed(folder: str, call: str, nth: int) -> None:
    """A gc in a process that dies at its nth call of a function of `os`."""
    real, calls = getattr(os, call), 0

    def dying(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            os._exit(9)
        return real(*arguments, **options)

    setattr(os, call, dying)
    collect_garbage(Path(folder), needs(1, 3, 5, 7), free=True)


@pytest.mark.parametrize("call", INSTANTS)
def test_killed_at_any_instant_it_loses_nothing_and_the_next_one_ends_the_work(
    tmp_path: Path, call: str
) -> None:
    for nth in (1, 2, 3):
        folder = tmp_path / str(nth)
        filled(folder, range(4))
        filled(folder, range(4, 8))
        process = multiprocessing.get_context("fork").Process(target=_killed, args=(str(folder), call, nth))
        process.start()
        process.join()
        assert process.exitcode == 9 or nth > 1
        assert {1, 3, 5, 7} <= set(held(folder)), f"killed at {call} {nth}"
        collect_garbage(folder, needs(1, 3, 5, 7), free=True)
        assert held(folder) == [1, 3, 5, 7]
        assert not [p for p in folder.iterdir() if p.suffix != ".seg" and p.name != "gc.lock"]
        assert sum(p.stat().st_size for p in segments(folder)) == 4 * (HEAD.size + len(payload(1)))


def test_two_gcs_at_once_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    with gc.as_only_collection(tmp_path), pytest.raises(WorkError, match="another garbage collection"):
        collect_garbage(tmp_path, needs(), free=True)
    assert held(tmp_path) == [0, 1]


def test_a_store_that_is_not_there_has_no_garbage_and_is_not_made(tmp_path: Path) -> None:
    assert collect_garbage(tmp_path / "store", needs(), free=True) == Garbage({}, 0, 0, 0)
    assert not (tmp_path / "store").exists()
