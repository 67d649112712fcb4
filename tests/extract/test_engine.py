"""The engine: keys, canonical batches, reuse, and what becomes of utterances that have no feature."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ercache.cache import ArraySpec, CacheFile
from ercache.errors import CorpusError, WorkError
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params import EngineParams, Strict
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample
from extract.engine import Feature, extract_corpus
from extract.engine.extraction import Extraction, raise_if_over
from extract.engine.plan import make_plan

ENGINE = EngineParams(shard=4, batch=2, threads=1, workers=1)


class Letters:
    """Toy encoder: counts letters; remembers the batches it was given."""

    class Params(Strict):
        scale: float = 1.0

    spec: ClassVar = EncoderSpec("text/letters", "text", "letter counts", "mask", 1, "MIT")
    batches: ClassVar[list[list[str]]] = []
    refuse: ClassVar[dict[str, Exception]] = {}

    def __init__(self, params: "Letters.Params", device: str = "cpu") -> None:
        self.scale = params.scale

    @staticmethod
    def input(params: "Letters.Params") -> Input:
        return Input(text=True)

    @staticmethod
    def arrays(params: "Letters.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("pooled", "vector", ("utterance", "dim"), (2,)),)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        texts = [s.text or "" for s in samples]
        Letters.batches.append(texts)
        results: list[Encoded | Missing] = []
        for text in texts:
            refusal = Letters.refuse.get(text)
            if isinstance(refusal, Missing):
                results.append(refusal)
            elif refusal is not None:
                raise refusal
            else:
                row = np.array([[len(text), text.count("e")]], "f4") * self.scale
                results.append(Encoded({"pooled": row}, len(text)))
        return results


@pytest.fixture(autouse=True)
def _forget() -> None:
    Letters.batches.clear()
    Letters.refuse.clear()


def feature(scale: float = 1.0, name: str = "letters") -> Feature:
    return Feature(name, Letters, Letters.Params(scale=scale), None, None)


def corpus(*texts: str, part: str = "train") -> Manifest:
    rows = tuple(
        Utterance(f"u{i}", "d", i, "Ann", t, None, None, {"emotion7": "joy"}, part)
        for i, t in enumerate(texts)
    )
    return Manifest("toy", "1", {}, {"emotion7": ("joy",)}, rows)


def extract(folder: Path, manifest: Manifest, *features: Feature, **options: object) -> Extraction:
    return extract_corpus(
        manifest,
        features or (feature(),),
        ENGINE,
        store=folder / "store",
        out=folder / "caches",
        **options,  # type: ignore[arg-type]
    )


def test_batches_are_sorted_inside_shards_and_never_cross_them(tmp_path: Path) -> None:
    extract(tmp_path, corpus("dddd", "a", "ccc", "bb", "f" * 9, "g"))
    assert Letters.batches == [["a", "bb"], ["ccc", "dddd"], ["g", "f" * 9]]


def test_equal_inputs_are_encoded_once(tmp_path: Path) -> None:
    result = extract(tmp_path, corpus("Yeah.", "No.", "Yeah."))
    assert (result.done, result.reused) == (2, 0)
    with CacheFile(result.files[0]) as cache:
        np.testing.assert_array_equal(cache["u0"]["pooled"], cache["u2"]["pooled"])


def test_a_rerun_computes_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    first = extract(tmp_path, corpus("a", "b"))
    data = first.files[0].read_bytes()
    Letters.batches.clear()
    again = extract(tmp_path, corpus("a", "b"))
    assert (again.done, again.reused, Letters.batches) == (0, 2, [])
    assert first.files[0].read_bytes() == data


def test_the_previous_cache_is_enough_without_the_store(tmp_path: Path) -> None:
    data = extract(tmp_path, corpus("a", "b")).files[0].read_bytes()
    for segment in (tmp_path / "store").iterdir():
        segment.unlink()
    again = extract(tmp_path, corpus("a", "b"))
    assert again.done == 0 and again.files[0].read_bytes() == data


def test_one_changed_text_recomputes_its_batch_and_keeps_the_other_records(tmp_path: Path) -> None:
    extract(tmp_path, corpus("a", "bb", "ccc", "dddd"))
    Letters.batches.clear()
    result = extract(tmp_path, corpus("a", "bb", "ccc", "eeee"))
    assert Letters.batches == [["ccc", "eeee"]]
    with CacheFile(result.files[0]) as cache:
        assert cache["u3"]["pooled"].tolist() == [[4, 4]]


def test_a_changed_param_recomputes_its_feature_only(tmp_path: Path) -> None:
    manifest = corpus("a", "b")
    first = extract(tmp_path, manifest, feature(1.0, "one"), feature(2.0, "two"))
    before = {p.name: p.read_bytes() for p in first.files}
    result = extract(tmp_path, manifest, feature(1.0, "one"), feature(3.0, "two"))
    after = {p.name: p.read_bytes() for p in result.files}
    assert (result.done, result.reused) == (2, 2)
    assert before["one.train.h5"] == after["one.train.h5"] and before["two.train.h5"] != after["two.train.h5"]


def test_a_repaired_label_touches_no_cache(tmp_path: Path) -> None:
    manifest = corpus("a", "b")
    data = extract(tmp_path, manifest).files[0].read_bytes()
    labelled = tuple(replace(u, labels={"emotion7": None}) for u in manifest.utterances)
    again = extract(tmp_path, replace(manifest, utterances=labelled))
    assert again.done == 0 and again.files[0].read_bytes() == data


def test_missing_is_recorded_with_its_reason_and_final(tmp_path: Path) -> None:
    Letters.refuse["b"] = Missing(Reason.TOO_SHORT, "words of the tool")
    result = extract(tmp_path, corpus("a", "b"))
    (failure,) = result.failed
    assert (failure.utterance, failure.status, failure.reason) == ("u1", "missing", "too_short")
    assert failure.detail == "words of the tool"
    Letters.batches.clear()
    assert extract(tmp_path, corpus("a", "b")).failed[0].reason == "too_short"
    assert Letters.batches == []


def test_unavailable_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    Letters.refuse["b"] = Missing(Reason.OUT_OF_MEMORY)
    result = extract(tmp_path, corpus("a", "b"), fail_over=50)
    assert result.failed[0].status == "unavailable" and len(result.files) == 1
    Letters.refuse.clear()
    again = extract(tmp_path, corpus("a", "b"))
    assert again.failed == []
    with CacheFile(again.files[0]) as cache:
        assert cache["u1"]["pooled"].tolist() == [[1, 0]]


def test_over_the_threshold_no_file_is_written(tmp_path: Path) -> None:
    Letters.refuse["b"] = Missing(Reason.OUT_OF_MEMORY)
    result = extract(tmp_path, corpus("a", "b"), fail_over=49)
    assert result.files == [] and not list((tmp_path / "caches").rglob("*.h5"))
    with pytest.raises(WorkError, match="1 of 2 utterances unavailable"):
        raise_if_over(result, 49)


def test_values_that_are_not_finite_never_reach_a_cache(tmp_path: Path) -> None:
    result = extract(tmp_path, corpus("aa", "bbb"), feature(3e38))
    assert {f.reason for f in result.failed} == {"unreadable"}


def test_an_encoder_that_breaks_loses_no_finished_batch(tmp_path: Path) -> None:
    Letters.refuse["dddd"] = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        extract(tmp_path, corpus("a", "bb", "ccc", "dddd"))
    Letters.refuse.clear()
    Letters.batches.clear()
    extract(tmp_path, corpus("a", "bb", "ccc", "dddd"))
    assert Letters.batches == [["ccc", "dddd"]]


def test_a_modality_that_the_corpus_lacks_is_an_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no utterance has text"):
        extract(tmp_path, corpus("", ""))
    assert not (tmp_path / "store").exists()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=30), st.integers(1, 7), st.integers(1, 7))
def test_the_plan_holds_every_distinct_input_once(texts: list[str], shard: int, batch: int) -> None:
    manifest = corpus(*texts)
    engine = EngineParams(shard=shard, batch=batch)
    plan = make_plan(manifest, manifest.utterances, [feature()], engine)
    planned = [s.text for b in plan.batches for s in b]
    assert sorted(map(str, planned)) == sorted(set(texts))
    assert all(1 <= len(b) <= batch for b in plan.batches)
    again = make_plan(manifest, manifest.utterances, [feature()], engine)
    assert again == plan, "a pure function of manifest and params"
    keys = [plan.keys["letters"][u.id] for u in manifest.utterances]
    assert len(set(keys)) == len(set(texts))


def test_media_without_reference_or_file_need_no_unit() -> None:
    manifest = corpus("a", "b")
    absent = replace(manifest.utterances[1], audio=MediaRef("x.wav"))
    rows = (manifest.utterances[0], absent)

    class Loud(Letters):
        spec: ClassVar = replace(Letters.spec, modality="audio")

    plan = make_plan(manifest, rows, [Feature("loud", Loud, Loud.Params(), None, None)], ENGINE)
    assert plan.keys["loud"] == {"u0": Reason.NOT_IN_CORPUS, "u1": Reason.ABSENT}
    assert plan.batches == ()


class Remembered(Letters):
    """A toy encoder whose memory runs out for more than one text at a time."""

    spec: ClassVar = replace(Letters.spec, key="text/remembered")

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        if len(samples) > 1 or samples[0].text == "huge":
            raise MemoryError("no more")
        return super().encode(samples)


def test_when_the_memory_runs_out_a_batch_is_run_one_by_one(tmp_path: Path) -> None:
    kind = Feature("remembered", Remembered, Remembered.Params(), None, None)
    result = extract(tmp_path, corpus("a", "b", "huge"), kind, fail_over=50)
    assert [(f.utterance, f.status, f.reason) for f in result.failed] == [
        ("u2", "unavailable", "out_of_memory")
    ]
    assert result.split == {"remembered"}


def test_a_finished_result_outlives_a_later_failure(tmp_path: Path) -> None:
    Letters.refuse["bb"] = Missing(Reason.TIMEOUT)
    extract(tmp_path, corpus("a", "bb"), fail_over=50)
    Letters.refuse["a"] = Missing(Reason.TIMEOUT)
    again = extract(tmp_path, corpus("a", "bb"), fail_over=50)
    assert [f.utterance for f in again.failed] == ["u1"]
    with CacheFile(again.files[0]) as cache:
        assert cache["u0"]["pooled"].tolist() == [[1, 0]]
