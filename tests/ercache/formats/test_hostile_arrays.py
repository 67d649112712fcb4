"""Files of arrays that claim more than they hold, or hold texts, are refused by their heads before values are read."""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ercache.cache import CacheFile
from ercache.errors import CacheError, UsageError
from ercache.formats.export import WRITERS
from ercache.formats.flat_cache import flatten_cache
from ercache.formats.npy import read_npz
from tests.support.exchange_files import brought, cache_of, csd, meld, mosei, values
from tests.support.limited import SECONDS, Outcome, outcomes

HUGE = (500_000, 1000)  # float64: 4 GB
PREPARE = """
from ercache.errors import ErcacheError
from ercache.formats import formats
from tests.support.exchange_files import meld
from tests.support.exchange_files import mosei
def read(path):
    form = path.name.split(".")[0].split("-")[0]
    formats.import_file(path, form, mosei() if form == "csd" else meld(), path.parent / "caches", modality="audio")
"""


def cuts(folder: Path, name: str, fill: Callable[[h5py.File], None]) -> Path:
    """A manifest of lhotse with one cut, and the HDF5 file that it names."""
    with h5py.File(folder / f"{name}.h5", "w") as file:
        fill(file)
    features = {"storage_type": "numpy_hdf5", "storage_path": f"{name}.h5", "storage_key": "x"}
    item = {"id": "dev_dia0_utt0", "features": features, "supervisions": []}
    (folder / f"lhotse-{name}.jsonl").write_text(json.dumps(item))
    return folder / f"lhotse-{name}.jsonl"


def chunk_bomb(file: h5py.File) -> None:
    """A chunk of 80 bytes that unpacks to 128 MB."""
    data = file.create_dataset("x", (5, 2), "f8", chunks=(5, 2), compression="gzip")
    packer = zlib.compressobj(1)
    raw = b"".join(packer.compress(bytes(1 << 24)) for _ in range(8)) + packer.flush()
    data.id.write_direct_chunk((0, 0), raw)


def twice_packed(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((5, 2))
    for _ in range(2):
        properties.set_deflate(9)
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((5, 2)), properties)
    file["x"][...] = 1


def csd_unwritten(path: Path) -> Path:
    csd(path, "COVAREP", {"vid": (np.ones((1, 2)), [(0, 1)])})
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/vid/features"]
        file.create_dataset("COVAREP/data/vid/features", HUGE, "f8")
    return path


def csd_of_intervals(path: Path) -> Path:
    csd(path, "COVAREP", {"vid": (np.ones((1, 2)), [(0, 1)])})
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/vid/intervals"]
        file.create_dataset(
            "COVAREP/data/vid/intervals", (250_000_000, 2), "f8", chunks=(1000, 2), compression="gzip"
        )
        file["COVAREP/data/vid/intervals"][:10] = 1.0
    return path


def head(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": kind, "fortran_order": False, "shape": shape})
    return made.getvalue()


def exported(
    path: Path, change: Callable[[dict[str, np.ndarray]], None] | None = None, packed: bool = False
) -> Path:
    """A file of `cache export`, changed."""
    with CacheFile(cache_of(path.parent, meld(), "dev", f"f{path.stem}")) as cache:
        WRITERS["npz"](flatten_cache(cache, meld()), path)
    with np.load(path) as file:
        arrays = dict(file)
    if change is not None:
        change(arrays)
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def with_member(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(exported(path), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def repeated(path: Path, column: pa.Array) -> Path:
    """Equal values take a few bytes in Parquet, however many there are."""
    pq.write_table(pa.table({"id": column}), path, compression="zstd")
    return path


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "lhotse of zeros that nobody wrote": (
        lambda f: cuts(f, "unwritten", lambda h: h.create_dataset("x", HUGE, "f8")), "no values of"),
    "lhotse of chunks that nobody wrote": (
        lambda f: cuts(f, "chunks", lambda h: h.create_dataset("x", HUGE, "f8", chunks=(1000, 1000))), "no values of"),
    "lhotse of some chunks": (
        lambda f: cuts(f, "some", lambda h: h.create_dataset("x", HUGE, "f8", chunks=(10, 1000)).__setitem__(
            slice(0, 10), 1.0)), "more than the file can hold"),
    "lhotse of zeros that are packed": (
        lambda f: cuts(f, "packed", lambda h: h.create_dataset("x", data=np.zeros((10_000, 1000)), compression="gzip")),
        "more than the file can hold"),
    "lhotse of one huge chunk": (
        lambda f: cuts(f, "chunk", lambda h: h.create_dataset(
            "x", (5, 2), "f8", maxshape=(None, 2), chunks=(20_000_000, 2), compression="gzip").__setitem__(0, 1.0)),
        "more than the file can hold"),
    "lhotse of a chunk that is a bomb": (lambda f: cuts(f, "bomb", chunk_bomb), "larger than its stated size"),
    "lhotse packed twice": (lambda f: cuts(f, "twice", twice_packed), "filters (compression)"),
    "lhotse of long texts": (
        lambda f: cuts(f, "texts", lambda h: h.create_dataset("x", (10**6,), "S1000")), "not numbers"),
    "csd of zeros that nobody wrote": (lambda f: csd_unwritten(f / "csd-a.csd"), "no values of"),
    "csd of intervals that nobody wrote": (lambda f: csd_of_intervals(f / "csd-b.csd"), "more than the file can hold"),
    "npz of long texts": (
        lambda f: exported(f / "npz-a.npz", lambda a: a.update({"pooled/values": np.full(20_000, "x" * 1000)}), True),
        "more than|refused, because it is an array of <U1000|times the archive's size"),
    "npz of texts": (
        lambda f: exported(f / "npz-t.npz", lambda a: a.update({"pooled/values": np.full(2000, "x" * 1000)})),
        "refused, because it is an array of <U1000"),
    "npz whose head claims more": (
        lambda f: with_member(f / "npz-b.npz", "y/values.npy", head((10**6, 10**6))), "more than the file has"),
    "npz of zeros": (
        lambda f: with_member(f / "npz-c.npz", "y/values.npy", head((2**24,)) + bytes(1 << 27)), "the archive's size"),
    "npz of objects": (
        lambda f: with_member(f / "npz-d.npz", "z.npy", head((2,), "|O") + bytes(16)), "an array of object"),
    "parquet of one number": (
        lambda f: repeated(f / "parquet-a.parquet", pa.repeat(pa.scalar(7), 20_000_000)), "more than the file can"),
    "parquet of lists of texts": (
        lambda f: repeated(f / "parquet-c.parquet", pa.array([["x" * 1000] * 1000])), "neither numbers nor texts"),
    "parquet of one text": (
        lambda f: repeated(f / "parquet-b.parquet", pa.DictionaryArray.from_arrays(
            pa.repeat(pa.scalar(0, pa.int32()), 500_000), pa.array(["x" * 10_000]))), "than a file of this size"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("arrays")
    return outcomes({name: make(folder) for name, (make, _) in BOMBS.items()}, PREPARE)


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_state_impossible_sizes_are_refused_with_a_message(
    found: dict[str, Outcome], name: str
) -> None:
    assert any(told in found[name].told for told in BOMBS[name][1].split("|")), found[name]
    assert "->" in found[name].told and found[name].seconds < SECONDS


@pytest.mark.parametrize("packed", [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True},
                                    {"compression": "lzf"}, {"scaleoffset": 3, "compression": "gzip"},
                                    {"chunks": (7, 2)}])  # fmt: skip
def test_files_of_usual_tools_are_read_compressed_or_not(tmp_path: Path, packed: dict[str, object]) -> None:
    matrix = np.arange(200, dtype="f4").reshape(100, 2)
    path = cuts(tmp_path, "a", lambda file: file.create_dataset("x", data=matrix, **packed))
    assert values(brought(path, "lhotse", meld(), tmp_path), "lhotse-a")["dev_dia0_utt0"] == matrix.tolist()
    file = csd(
        tmp_path / "COVAREP.csd", "COVAREP", {"vid": (matrix, [(n / 20, n / 20 + 0.05) for n in range(100)])}
    )
    with h5py.File(file, "a") as opened:
        del opened["COVAREP/data/vid/features"]
        opened.create_dataset("COVAREP/data/vid/features", data=matrix, **packed)
    back = values(brought(file, "csd", mosei(), tmp_path), "covarep")
    assert back["vid_1"] + back["vid_0"] == matrix.tolist()


def test_few_zeros_are_read_although_they_compress_well(tmp_path: Path) -> None:
    path = cuts(tmp_path, "a", lambda f: f.create_dataset("x", data=np.zeros((500, 100)), compression="gzip"))
    assert brought(path, "lhotse", meld(), tmp_path).utterances == 1
    np.savez_compressed(tmp_path / "z.npz", x=np.zeros((1000, 1000)))
    assert read_npz(tmp_path / "z.npz", lambda name: True)["x"].shape == (1000, 1000)


def test_a_damaged_or_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(1000.0))
    whole = path.read_bytes()
    for content in (whole[:500] + b"\xff" + whole[501:], whole[:-30], whole[:300]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"not readable as \.npz"):
            read_npz(path, lambda name: True)


@pytest.mark.parametrize(
    "descr", ["'<f8'" + ")" * 50, "(" * 150 + ")" * 150, "-" * 5000 + "1", "'<U2147483647'", "'V'"]
)
def test_an_invalid_header_of_an_npy_gives_a_clear_error(tmp_path: Path, descr: str) -> None:
    folder = tmp_path / "bert-UTT"
    folder.mkdir()
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    (folder / "train_dia0_utt0.npy").write_bytes(content)
    with pytest.raises(UsageError, match=r"train_dia0_utt0\.npy"):
        brought(folder, "merbench", meld(), tmp_path)


def test_a_compressed_manifest_of_endless_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cuts.jsonl.gz"
    line = b" " * ((1 << 20) - 1) + b"\n"
    path.write_bytes(gzip.compress(line * 128))
    with pytest.raises(UsageError, match="unpacks to more than"):
        brought(path, "lhotse", meld(), tmp_path)


@pytest.mark.parametrize("name", ["features/values", "features/offsets", "index"])
def test_a_cache_file_with_unwritten_data_counts_as_damaged(tmp_path: Path, name: str) -> None:
    path = cache_of(tmp_path, meld(), "train")
    name = name.replace("features", "pooled")
    with h5py.File(path, "r+") as file:
        kind, tail = file[name].dtype, file[name].shape[1:]
        del file[name]
        file.create_dataset(name, (10**8, *tail), kind)
    with pytest.raises(CacheError, match=r"the file holds fewer values|its shape does not fit"):
        CacheFile(path)
