"""Caches come back from every format bit for bit, and what a format cannot carry is told."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ercache.cache import ArraySpec, CacheFile, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.formats.export import WRITERS
from ercache.formats.flat_cache import flatten_cache
from ercache.formats.mmsa_file import write_mmsa
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest, Utterance
from tests.support.exchange_files import EMOTIONS, brought, cache_of, meld, mosei


def assert_equal(a: Path, b: Path) -> None:
    with CacheFile(a) as first, CacheFile(b) as second:
        assert first.entries == second.entries and first.specs == second.specs
        for name in first.specs:
            (x, cuts), (y, others) = first.read(name), second.read(name)
            assert x.tobytes() == y.tobytes() and x.dtype == y.dtype and np.array_equal(cuts, others)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_values_ids_labels_and_masks_are_read_back_bit_for_bit(tmp_path: Path, form: str) -> None:
    manifest = meld()
    cache = cache_of(tmp_path, manifest, "train")
    with CacheFile(cache) as opened:
        lost = WRITERS[form](flatten_cache(opened, manifest), tmp_path / f"f.{form}")
    assert any("digests" in line for line in lost) and any("transcripts" in line for line in lost)
    packed = brought(tmp_path / f"f.{form}", form, manifest, tmp_path)
    assert packed.features == ["f"] and packed.utterances == 2
    assert_equal(cache, Path(packed.files[0]))
    assert any("labels of emotion7: all are equal" in note for note in packed.notes)
    with CacheFile(Path(packed.files[0])) as back:
        assert back.provenance["imported"]["claims"]["provenance"]["encoder"] == "x/y"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(sorted(WRITERS)))
def test_any_cache_is_read_back_from_any_format(tmp_path: Path, data: st.DataObject, form: str) -> None:
    dtype = data.draw(st.sampled_from(["float32", "float16", "float64", "uint8", "int32", "int64"]))
    shape = data.draw(st.sampled_from([(), (3,), (2, 2)]))
    values = data.draw(
        st.lists(st.text(min_size=1, max_size=3).filter(str.isprintable), min_size=1, unique=True)
    )
    labels = data.draw(st.lists(st.none() | st.sampled_from(values), min_size=3, max_size=3))
    rows = tuple(
        Utterance(f"ü {n}", "d", n, "s", None, None, None, {"l": label}, "all")
        for n, label in enumerate(labels)
    )
    manifest = Manifest("toy", "1", {}, {"l": tuple(values)}, rows)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=3, max_size=3))
    arrays = {
        u.id: {"a": data.draw(hnp.arrays(dtype, (n, *shape)))} for u, n in zip(rows, counts, strict=True) if n
    }
    entries = [Entry(u.id, Status.OK, "", 1, "", content_digest(arrays[u.id])) if u.id in arrays
               else Entry(u.id, Status.MISSING, "silent") for u in rows]  # fmt: skip
    kind = "vector" if max(counts) <= 1 else "sequence"
    spec = ArraySpec("a", kind, ("t", *"yx"[: len(shape)]), shape, dtype)
    told = {"corpus": "toy", "part": "all", "feature": "f", "modality": "audio"}
    write_cache(tmp_path / "a.h5", [spec], entries, arrays, told)
    with CacheFile(tmp_path / "a.h5") as cache:
        WRITERS[form](flatten_cache(cache, manifest), tmp_path / "a.out")
    packed = brought(tmp_path / "a.out", form, manifest, tmp_path)
    assert_equal(tmp_path / "a.h5", Path(packed.files[0]))
    assert any("labels of l: all are equal" in note for note in packed.notes)


def test_numpy_and_pyarrow_can_read_exported_files(tmp_path: Path) -> None:
    manifest = meld()
    with CacheFile(cache_of(tmp_path, manifest, "train")) as cache:
        WRITERS["npz"](flatten_cache(cache, manifest), tmp_path / "f.npz")
        WRITERS["parquet"](flatten_cache(cache, manifest), tmp_path / "f.parquet")
        pooled = cache["train_dia0_utt0"]["pooled"][0]
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert file["id"].tolist() == [u.id for u in manifest.of_part("train")]
        assert file["present"].tolist() == [True, False, True, False]
        assert file["label:emotion7"].tolist() == list(EMOTIONS[:4])
    frame = pd.read_parquet(tmp_path / "f.parquet")
    assert frame["label:emotion7"].tolist() == list(EMOTIONS[:4]) and frame["array:pooled"][1] is None
    assert np.array(frame["array:pooled"][0], "f4").tobytes() == pooled.tobytes()


def test_mmsa_is_read_back_and_its_losses_are_listed(tmp_path: Path) -> None:
    manifest = meld()
    paths = [cache_of(tmp_path, manifest, p, m, m) for p in manifest.parts for m in ("text", "visual")]
    opened = [CacheFile(path) for path in paths]
    count, lost = write_mmsa(opened, manifest, tmp_path / "m.pkl", "", "", "pooled")
    told = " ".join(lost)
    assert (
        count == 8
        and "why an utterance is missing" in told
        and "the array steps" in told
        and "no scale" in told
    )
    plain = pickle.loads((tmp_path / "m.pkl").read_bytes())
    assert list(plain) == ["train", "valid", "test"] and plain["train"]["vision"].shape == (4, 1, 5)
    assert plain["train"]["text_lengths"] == [1, 0, 1, 0] and plain["valid"]["annotations"] == [EMOTIONS[4]]
    assert plain["train"]["classification_labels"].tolist() == [0, 1, 2, 3]
    assert load_pickle(tmp_path / "m.pkl")["test"]["id"] == [u.id for u in manifest.of_part("test")]
    packed = brought(tmp_path / "m.pkl", "mmsa", manifest, tmp_path)
    for cache, back in zip(opened[::2], (f for f in packed.files if "/text/" in f), strict=True):
        with CacheFile(Path(back)) as again:
            assert again.read("features")[0].tobytes() == cache.read("pooled")[0].tobytes()
            assert [e.status == "ok" for e in again.entries] == [e.status == "ok" for e in cache.entries]
    for cache in opened:
        cache.close()


def test_mmsa_distinguishes_missing_labels_from_numbers(tmp_path: Path) -> None:
    manifest = mosei()
    with (
        CacheFile(cache_of(tmp_path, manifest, "train")) as a,
        CacheFile(cache_of(tmp_path, manifest, "dev")) as b,
    ):
        _, lost = write_mmsa([a, b], manifest, tmp_path / "m.pkl", "", "", "pooled")
    plain = load_pickle(tmp_path / "m.pkl")
    assert plain["train"]["regression_labels"].tolist() == [-1.0] and plain["train"]["raw_text"].tolist() == [
        "words vid_1"
    ]
    assert np.isnan(plain["valid"]["regression_labels"]).all() and plain["valid"][
        "classification_labels"
    ].tolist() == [-1]
    assert any("1 utterance without a label" in line for line in lost)
