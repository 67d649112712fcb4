"""The promises of the cache file: equal bytes, found damage, missing is no vector."""

import hashlib
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ercache.cache import ArraySpec, CacheFile, Entry, Status, content_digest, verify_cache
from ercache.cache_writer import WRITE_BUFFER, write_cache
from ercache.errors import CacheError, WorkError

POOLED = ArraySpec("pooled", "vector", ("utterance", "dim"), (3,))
TOKENS = ArraySpec("tokens", "sequence", ("token", "dim"), (3,))
PROVENANCE = {"corpus": "toy", "part": "train", "feature": "f"}


def entry(name: str, arrays: dict[str, np.ndarray]) -> Entry:
    return Entry(name, Status.OK, "", len(arrays["tokens"]), "key", content_digest(arrays))


def sample(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"pooled": rng.normal(size=(1, 3)).astype("f4"), "tokens": rng.normal(size=(n, 3)).astype("f4")}


def small_cache(path: Path, count: int = 4) -> Path:
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": sample(i + 1, rng) for i in range(count)}
    entries = [entry(name, a) for name, a in arrays.items()] + [Entry("gone", Status.MISSING, "no_face")]
    write_cache(path, [POOLED, TOKENS], entries, arrays, PROVENANCE)
    return path


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    assert small_cache(tmp_path / "a.h5").read_bytes() == small_cache(tmp_path / "b.h5").read_bytes()


def test_no_object_of_a_cache_bears_a_time(tmp_path: Path) -> None:
    times: dict[str, tuple[int, ...]] = {}

    def note(name: str, held: h5py.Group | h5py.Dataset) -> None:
        about = h5py.h5o.get_info(held.id)
        times[name] = (about.atime, about.mtime, about.ctime, about.btime)

    with h5py.File(small_cache(tmp_path / "a.h5"), "r") as file:
        note("/", file["/"])
        file.visititems(note)
    assert len(times) > 4 and set(times.values()) == {(0, 0, 0, 0)}


def mixed_cache(path: Path, count: int) -> Path:
    """Arrays of several types and lengths, from nothing to over a megabyte in all."""
    faces = ArraySpec("faces", "sequence", ("frame", "y", "x"), (64, 48), "uint8")
    score = ArraySpec("a_score", "vector", ("utterance",), (), "float16")
    arrays: dict[str, dict[str, np.ndarray]] = {}
    entries = []
    for n in range(count):
        if n % 5 == 3:
            entries.append(Entry(f"ü{n}", Status.MISSING, "no_face", 0, "k"))
            continue
        rows = (np.arange((n % 7 + 1) * 64 * 48) % (n + 2)).astype("u1").reshape(-1, 64, 48)
        arrays[f"ü{n}"] = {"faces": rows, "a_score": np.array([n / 8], "f2")}
        entries.append(Entry(f"ü{n}", Status.OK, "", len(rows), "k", content_digest(arrays[f"ü{n}"])))
    write_cache(path, [faces, score], entries, arrays, {**PROVENANCE, "note": "x" * 100})
    return path


@pytest.mark.parametrize(
    ("count", "digest"),
    [
        (0, "eebfef09f8f5564d9123678ef3c97095dd37dae643ce3658b9792b4f89d396c4"),
        (1, "55befaf209d9065e99817092f7e4093b411562b991d3bf7dc9cc2d0d17130cf9"),
        (200, "b764d5676b16bdbeb1540286bfe8861964d5a0eba59f640a6677bd3bb25489df"),
    ],
)
def test_the_bytes_equal_those_of_earlier_versions(tmp_path: Path, count: int, digest: str) -> None:
    """Taken when all values of an array were still written at once (h5py 3.16, HDF5 2.0)."""
    path = mixed_cache(tmp_path / "a.h5", count)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert count < 200 or path.stat().st_size > WRITE_BUFFER, "more than one write an array"
    assert verify_cache(path) == []


class Counting:
    """Gives arrays and remembers what was asked for."""

    def __init__(self, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        self.arrays, self.asked = arrays, list[str]()

    def __getitem__(self, utterance: str) -> Mapping[str, np.ndarray]:
        self.asked.append(utterance)
        return self.arrays[utterance]


def test_arrays_are_read_once_if_their_lengths_are_given(tmp_path: Path) -> None:
    arrays = Counting({f"u{n}": {"tokens": np.ones((n + 1, 3), "f4")} for n in range(3)})
    rows = [Entry("u0", Status.OK), Entry("gone", Status.MISSING, "no_face"), Entry("u2", Status.OK)]
    lengths = [{"tokens": 1}, {}, {"tokens": 3}]
    write_cache(tmp_path / "a.h5", [TOKENS], rows, arrays, PROVENANCE, lengths)
    assert arrays.asked == ["u0", "u2"]
    write_cache(tmp_path / "b.h5", [TOKENS], rows, arrays, PROVENANCE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_an_array_of_another_length_than_given_is_refused(tmp_path: Path) -> None:
    arrays = {"u": {"tokens": np.ones((2, 3), "f4")}}
    for told in (1, 3):
        with pytest.raises(CacheError, match=f"but {told} rows of"):
            write_cache(
                tmp_path / "a.h5", [TOKENS], [Entry("u", Status.OK)], arrays, PROVENANCE, [{"tokens": told}]
            )
    assert list(tmp_path.iterdir()) == []


def test_a_cache_file_can_be_copied_utterance_by_utterance(tmp_path: Path) -> None:
    path = small_cache(tmp_path / "a.h5")
    with CacheFile(path) as cache:
        assert (cache.lengths("u2"), cache.lengths("gone")) == ({"pooled": 1, "tokens": 3}, {})
        write_cache(tmp_path / "b.h5", list(cache.specs.values()), cache.entries, cache, cache.provenance)
    assert (tmp_path / "b.h5").read_bytes() == path.read_bytes()


def test_a_full_disk_gives_a_clear_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = small_cache(tmp_path / "big.h5")
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, __file__, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "WorkError" in done.stdout and "Traceback" not in done.stderr, done
    for words in (str(tmp_path), "6.1 MB needed", "finished work is kept", "run again"):
        assert words in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["big.h5"] and path.read_bytes() == before


def write_on_a_full_disk(path: Path) -> None:
    """Write 6 MB in a process whose files may have 1 MB only."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY))
    arrays = {f"u{n}": {"tokens": np.ones((50_000, 3), "f4")} for n in range(10)}
    try:
        write_cache(path, [TOKENS], [Entry(u, Status.OK) for u in arrays], arrays, PROVENANCE)
    except WorkError as error:
        print("WorkError", error)


def test_a_missing_utterance_has_a_status_and_no_values(tmp_path: Path) -> None:
    with CacheFile(small_cache(tmp_path / "a.h5")) as cache:
        assert cache["gone"] == {}
        assert cache.coverage() == {"ok": 4, "missing: no_face": 1}
        values, offsets = cache.read("tokens")
        assert list(np.diff(offsets)) == [1, 2, 3, 4, 0]
        assert len(values) == 10
        np.testing.assert_array_equal(cache["u2"]["tokens"], values[3:6])


def test_verify_finds_every_single_flipped_bit(tmp_path: Path) -> None:
    path = small_cache(tmp_path / "a.h5")
    good = path.read_bytes()
    assert verify_cache(path) == []
    rng = np.random.default_rng(1)
    for place in rng.integers(0, 8 * len(good), 3000):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << (place % 8)
        path.write_bytes(bad)
        assert verify_cache(path), f"bit {place} was flipped unnoticed"


def test_verify_compares_the_ids_with_the_manifest(tmp_path: Path) -> None:
    path = small_cache(tmp_path / "a.h5", 1)
    assert verify_cache(path, ["u0", "gone"]) == []
    assert verify_cache(path, ["gone", "u0"]) == ["ids or their order differ from the manifest"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        hnp.arrays(
            np.float32,
            st.tuples(st.integers(1, 5), st.just(3)),
            elements=st.floats(-1e6, 1e6, width=32),
        ),
        max_size=6,
    ),
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=6, unique=True
    ),
)
def test_everything_that_is_written_can_be_read(
    tmp_path: Path, rows: list[np.ndarray], names: list[str]
) -> None:
    arrays = {name: {"tokens": row} for name, row in zip(names, rows, strict=False)}
    entries = [entry(name, a) for name, a in arrays.items()]
    write_cache(tmp_path / "a.h5", [TOKENS], entries, arrays, PROVENANCE)
    assert verify_cache(tmp_path / "a.h5", list(arrays)) == []
    with CacheFile(tmp_path / "a.h5") as cache:
        assert list(cache) == list(arrays)
        for name, a in arrays.items():
            np.testing.assert_array_equal(cache[name]["tokens"], a["tokens"])


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    wrong = {"u": {"tokens": np.zeros((2, 4), "f4")}}
    with pytest.raises(CacheError, match="are expected; correct the encoder"):
        write_cache(tmp_path / "a.h5", [TOKENS], [Entry("u", Status.OK)], wrong, PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    rows = [Entry("u", Status.MISSING, "no_face")] * 2
    with pytest.raises(CacheError, match="same id"):
        write_cache(tmp_path / "a.h5", [TOKENS], rows, {}, PROVENANCE)


def foreign(path: Path, change: str) -> Path:
    """A cache file that was changed on purpose and sealed again, as an attacker or a newer version would."""
    from ercache.cache_writer import _seal

    small_cache(path)
    with h5py.File(path, "r+") as file:
        if change == "version":
            file.attrs["format_version"] = 99
        elif change == "external link":
            del file["tokens"]
            file["tokens"] = h5py.ExternalLink("/etc/other.h5", "/tokens")
        elif change == "soft link":
            del file["tokens/values"]
            file["tokens/values"] = h5py.SoftLink("/pooled/values")
        elif change == "virtual":
            del file["tokens/values"]
            layout = h5py.VirtualLayout((10, 3), "f4")
            layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (10, 3))
            file["tokens"].create_virtual_dataset("values", layout)
        elif change == "offsets":
            file["tokens/offsets"][1] = 10**12
        elif change == "compression":
            del file["tokens/values"]
            file["tokens"].create_dataset("values", data=np.zeros((10, 3), "f4"), compression="gzip")
        elif change == "no index":
            del file["index"]
    _seal(path)
    return path


@pytest.mark.parametrize(
    "change", ["version", "external link", "soft link", "virtual", "offsets", "compression", "no index"]
)
def test_damaged_cache_files_are_refused(tmp_path: Path, change: str) -> None:
    path = foreign(tmp_path / "a.h5", change)
    with pytest.raises(CacheError):
        CacheFile(path)
    assert verify_cache(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("text.h5", "empty.h5", "absent.h5"):
        with pytest.raises(CacheError, match=name):
            CacheFile(tmp_path / name)


def test_temporary_files_of_killed_writers_are_removed_and_those_of_running_ones_kept(tmp_path: Path) -> None:
    dead = tmp_path / ".a.h5.999999999"
    living = tmp_path / ".a.h5.1"
    for leftover in (dead, living):
        leftover.write_bytes(b"torn")
    small_cache(tmp_path / "a.h5")
    assert not dead.exists() and living.exists()


if __name__ == "__main__":
    write_on_a_full_disk(Path(sys.argv[1]))
