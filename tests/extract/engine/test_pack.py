"""Packing: flat in memory, few reads, nothing half written, whatever the store and the disk do."""

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest

from ercache.cache import CacheFile, Status, verify_cache
from ercache.cache_writer import write_cache
from ercache.errors import WorkError
from ercache.manifest import Manifest
from ercache.notes import KEY as NOTES
from ercache.notes import notes_of
from ercache.reasons import Reason
from extract.encoders.base import Sample
from extract.engine import Feature, Store, extract_corpus, store
from extract.engine.pack import FinishedUnits, UnitResult, collect, pack
from extract.engine.plan import Plan, make_plan
from extract.engine.records import Record, pack_record, unpack_record
from extract.engine.segment import HEAD
from tests.support.memory import peak
from tests.support.toy_echo import ENGINE, corpus, echo, extract

MIB = 1 << 20


def planned(manifest: Manifest, feature: Feature) -> Plan:
    return make_plan(manifest, manifest.utterances, [feature], ENGINE)


def put(folder: Path, manifest: Manifest, feature: Feature) -> Plan:
    """Every result of a feature in a store of its own."""
    plan = planned(manifest, feature)
    encoder = feature.kind(feature.params, "cpu")
    with Store(folder) as opened:
        for u in manifest.utterances:
            (encoded,) = encoder.encode([Sample(text=u.text)])
            key = plan.keys[feature.name][u.id]
            assert not isinstance(encoded, Exception)
            opened.put(
                str(key), pack_record(Record(encoded.arrays, encoded.frames, environment={"device": "cpu"}))
            )
            opened.commit()
    return plan


def packed(path: Path, manifest: Manifest, feature: Feature, folder: Path, *previous: Path) -> FinishedUnits:
    """Look every result up and write the cache file."""
    plan = planned(manifest, feature)
    results = FinishedUnits(previous, Store(folder))
    assert all(str(key) in results for key in plan.keys[feature.name].values())
    found = collect(plan, feature, [u.id for u in manifest.utterances], results.get)
    pack(path, manifest, "train", feature, plan, found, False, results)
    return results


def test_each_payload_is_read_once_to_look_it_up_and_once_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, feature = corpus("a", "b", "c"), echo()
    put(tmp_path / "store", manifest, feature)
    reads: list[bytes] = []
    read = store.payload_at
    monkeypatch.setattr(store, "payload_at", lambda s, o, k: reads.append(k) or read(s, o, k))
    packed(tmp_path / "a.h5", manifest, feature, tmp_path / "store")
    assert sorted(reads) == sorted(2 * list(set(reads))) and len(reads) == 6
    assert verify_cache(tmp_path / "a.h5", ["u0", "u1", "u2"]) == []


def test_a_damaged_payload_is_not_done(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b", "c"), echo()  # in batches of two
    plan = put(tmp_path / "store", manifest, feature)
    (segment,) = (tmp_path / "store").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[HEAD.size + 100] ^= 1
    segment.write_bytes(data)
    results = FinishedUnits([], Store(tmp_path / "store"))
    assert [str(plan.keys["echo"][u]) in results for u in ("u0", "u1", "u2")] == [False, True, True]
    result = extract(tmp_path, manifest, feature)
    assert (result.done, result.reused) == (1, 2)


def test_a_payload_that_is_damaged_after_it_was_found_is_a_clear_error(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b"), echo()
    plan = put(tmp_path / "store", manifest, feature)
    results = FinishedUnits([], Store(tmp_path / "store"))
    found = collect(plan, feature, ["u0", "u1"], results.get)
    (segment,) = (tmp_path / "store").glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(WorkError, match="has disappeared"):
        pack(tmp_path / "out" / "a.h5", manifest, "train", feature, plan, found, False)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_failed_in_this_run_is_packed_as_unavailable(tmp_path: Path) -> None:
    manifest, feature = corpus("a", ""), echo()
    plan = planned(manifest, feature)
    failed = Record({}, reason=Reason.TIMEOUT, detail="words of the tool", environment={"device": "cpu"})
    found = collect(plan, feature, ["u0"], {plan.keys["echo"]["u0"]: failed}.get)
    assert found["u0"] == UnitResult(0, Reason.TIMEOUT, "words of the tool", environment='{"device":"cpu"}')
    pack(tmp_path / "a.h5", manifest, "train", feature, plan, found, True)
    with CacheFile(tmp_path / "a.h5") as cache:
        assert [(e.status, e.reason) for e in cache.entries] == [(Status.UNAVAILABLE, "timeout")]
        assert cache.provenance["made"] == [{"device": "cpu"}] and cache.provenance["partial"] is True


def test_a_unit_without_a_result_is_a_clear_error(tmp_path: Path) -> None:
    manifest, feature = corpus("a"), echo()
    with pytest.raises(WorkError, match="the result of utterance 'u0' is not in the store"):
        collect(planned(manifest, feature), feature, ["u0"], {}.get)


def test_a_file_that_says_the_same_already_is_left_alone(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.h5", tmp_path / "store"
    manifest, feature = corpus("a", "b"), echo()
    put(folder, manifest, feature)
    packed(path, manifest, feature, folder)
    before = path.stat()
    packed(path, manifest, feature, folder, path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    data = path.read_bytes()
    renamed = replace(feature, name="other")
    packed(path, manifest, renamed, folder, path)
    assert path.read_bytes() != data, "another provenance is another file"
    packed(path, manifest, feature, folder, path)
    assert path.read_bytes() == data, "repacked from a cache file, not from the store"


def test_a_cache_says_how_its_extractor_was_trained_and_its_keys_do_not_depend_on_that(
    tmp_path: Path,
) -> None:
    path, folder = tmp_path / "a.h5", tmp_path / "store"
    manifest, feature = corpus("a", "b"), echo()
    put(folder, manifest, feature)
    packed(path, manifest, feature, folder)
    with CacheFile(path) as cache:
        assert "extractor" not in cache.provenance
    trained = {"config": {"size": "tiny"}, "training": {"epochs": 1}, "labels": "class", "seen": {"toy": 2}}
    packed(path, manifest, replace(feature, trained=trained), folder)
    with CacheFile(path) as cache:
        assert cache.provenance["extractor"] == trained


def test_a_file_that_was_removed_or_damaged_is_written_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.h5", tmp_path / "store"
    manifest, feature = corpus("a", "b"), echo()
    put(folder, manifest, feature)
    packed(path, manifest, feature, folder)
    data = path.read_bytes()
    path.unlink()
    packed(path, manifest, feature, folder, path)
    assert path.read_bytes() == data
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    results = packed(path, manifest, feature, folder, path)
    assert path.read_bytes() == data and results.damaged_files == [path]


def test_a_note_is_kept_when_a_file_is_packed_again_from_the_file_before_it(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.h5", tmp_path / "store"
    manifest, feature = corpus("a", "b"), echo()
    plan = planned(manifest, feature)
    with Store(folder) as opened:
        for utterance, note in (("u0", ""), ("u1", "frames 5 of 6")):
            (encoded,) = feature.kind(feature.params, "cpu").encode([Sample(text=utterance)])
            record = Record(encoded.arrays, encoded.frames, environment={"device": "cpu"}, note=note)
            opened.put(str(plan.keys["echo"][utterance]), pack_record(record))
    packed(path, manifest, feature, folder)
    for _ in range(2):  # from the store, then from the file
        with CacheFile(path) as cache:
            assert notes_of(cache.provenance) == {"u1": "frames 5 of 6"}
        assert verify_cache(path, ["u0", "u1"]) == []
        packed(path, manifest, replace(feature, name="other"), tmp_path / "nothing", path)


def test_files_without_notes_keep_the_bytes_they_had_before_there_were_any(tmp_path: Path) -> None:
    manifest, feature = corpus("a", "b"), echo()
    put(tmp_path / "store", manifest, feature)
    packed(tmp_path / "a.h5", manifest, feature, tmp_path / "store")
    with CacheFile(tmp_path / "a.h5") as cache:
        assert NOTES not in cache.provenance
        write_cache(
            tmp_path / "b.h5",
            feature.arrays,
            cache.entries,
            {u: dict(cache[u]) for u in cache.row},
            cache.provenance,
        )
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_record_of_before_there_were_notes_is_read_and_a_new_one_without_is_the_same() -> None:
    arrays = {"pooled": ("<f4", [1, 2], np.array([[1, 2]], "<f4").tobytes())}
    old = bytes(msgpack.packb([arrays, 3, None, "", {"device": "cpu"}]))
    record = unpack_record(old)
    assert (record.note, record.frames, record.reason) == ("", 3, None)
    assert record.arrays["pooled"].tolist() == [[1, 2]] and pack_record(record) == old
    assert unpack_record(pack_record(replace(record, note="less"))).note == "less"


def test_notes_that_a_stranger_wrote_in_another_way_are_none() -> None:
    assert notes_of({"notes": ["u0"]}) == notes_of({"notes": None}) == notes_of({}) == {}
    assert notes_of({"notes": {"u0": 3}}) == {"u0": "3"}


def child(*arguments: object) -> str:
    """This module in a process of its own."""
    command = [sys.executable, "-m", "tests.extract.engine.test_pack", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip()


def test_ten_times_the_utterances_need_no_more_memory(tmp_path: Path) -> None:
    peaks = {n: int(child("memory", n, tmp_path / str(n))) for n in (10, 100)}
    sizes = {n: (tmp_path / str(n) / "a.h5").stat().st_size for n in peaks}
    assert sizes[100] > 100 * MIB > 9 * sizes[10] / 1.1
    assert peaks[100] <= 1.05 * peaks[10], f"{peaks} bytes for files of {sizes} bytes"


def memory(count: int, folder: Path) -> None:
    """Print the peak of this process after packing from the store, and from a cache file."""
    manifest, feature = corpus(*(f"text {n}" for n in range(count))), echo(rows=1024)
    put(folder / "store", manifest, feature)
    packed(folder / "a.h5", manifest, feature, folder / "store").close()
    renamed = replace(feature, name="other")
    packed(folder / "b.h5", manifest, renamed, folder / "nothing", folder / "a.h5").close()
    print(peak())


def test_a_full_disk_in_the_store_or_the_cache_costs_no_finished_work(tmp_path: Path) -> None:
    manifest, feature = corpus(*"abcdefgh"), echo(rows=256)
    expected = extract(tmp_path / "undisturbed", manifest, feature).files[0].read_bytes()
    told = [child("limited", limit, tmp_path / "full") for limit in (700_000, 1_500_000, 1_200_000)]
    assert all(text.startswith("WorkError") and "run again" in text for text in told), told
    assert f"{tmp_path / 'full/store'}: no space left" in told[0], "it fails in the store first"
    assert f"{tmp_path / 'full/caches/toy/text'}: no space left" in told[-1], "and in the cache at last"
    assert not [p for p in (tmp_path / "full" / "caches").rglob("*") if p.is_file()], "nothing half written"
    again = extract(tmp_path / "full", manifest, feature)
    assert again.done == 0 and again.files[0].read_bytes() == expected


def limited(limit: int, folder: Path) -> None:
    """Extract where no file may be longer than told."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        extract_corpus(
            corpus(*"abcdefgh"), [echo(rows=256)], ENGINE, store=folder / "store", out=folder / "caches"
        )
    except WorkError as error:
        print("WorkError", error)


if __name__ == "__main__":
    {"memory": memory, "limited": limited}[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
