"""The engine: keys, canonical batches, reuse, and what becomes of utterances that have no feature."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ercache.cache import CacheFile
from ercache.errors import CorpusError, WorkError
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams
from ercache.reasons import Reason
from extract.engine import Feature, extract_corpus
from extract.engine.extraction import Extraction, Failure, raise_if_withheld, summarise_failures
from extract.engine.plan import make_plan
from tests.support.toy_letters import Loud, calls, letters, refuse

ENGINE = EngineParams(text_shard=4, batch=2, lanes=1)


def corpus(*texts: str, part: str = "train") -> Manifest:
    rows = tuple(
        Utterance(f"u{i}", "d", i, "Ann", t, None, None, {"emotion7": "joy"}, part)
        for i, t in enumerate(texts)
    )
    return Manifest("toy", "1", {}, {"emotion7": ("joy",)}, rows)


def extract(folder: Path, manifest: Manifest, *features: Feature, **options: object) -> Extraction:
    return extract_corpus(
        manifest,
        features or (letters(folder),),
        ENGINE,
        store=folder / "store",
        out=folder / "caches",
        **options,  # type: ignore[arg-type]
    )


def test_forwards_never_cross_shards(tmp_path: Path) -> None:
    extract(tmp_path, corpus("dd", "a", "cc", "bb", "f", "ff"))
    assert calls(tmp_path) == [["a"], ["bb"], ["dd", "cc"], ["f"], ["ff"]]


def test_equal_inputs_are_encoded_once(tmp_path: Path) -> None:
    result = extract(tmp_path, corpus("Yeah.", "No.", "Yeah."))
    assert (result.done, result.reused) == (2, 0)
    with CacheFile(result.files[0]) as cache:
        np.testing.assert_array_equal(cache["u0"]["pooled"], cache["u2"]["pooled"])


def test_a_rerun_computes_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    first = extract(tmp_path, corpus("a", "b"))
    data = first.files[0].read_bytes()
    calls(tmp_path)
    again = extract(tmp_path, corpus("a", "b"))
    assert (again.done, again.reused, calls(tmp_path)) == (0, 2, [])
    assert first.files[0].read_bytes() == data


def test_the_previous_cache_is_enough_without_the_store(tmp_path: Path) -> None:
    data = extract(tmp_path, corpus("a", "b")).files[0].read_bytes()
    for segment in (tmp_path / "store").iterdir():
        segment.unlink()
    again = extract(tmp_path, corpus("a", "b"))
    assert again.done == 0 and again.files[0].read_bytes() == data


def test_one_changed_text_recomputes_its_shard_and_keeps_the_other_records(tmp_path: Path) -> None:
    extract(tmp_path, corpus("a", "b", "c", "d", "gg", "hh"))
    calls(tmp_path)
    result = extract(tmp_path, corpus("a", "b", "c", "d", "gg", "ee"))
    assert calls(tmp_path) == [["gg", "ee"]]
    with CacheFile(result.files[0]) as cache:
        assert cache["u5"]["pooled"].tolist() == [[2, 2]]


def test_a_changed_param_recomputes_its_feature_only(tmp_path: Path) -> None:
    manifest = corpus("a", "b")
    first = extract(tmp_path, manifest, letters(tmp_path, "one"), letters(tmp_path, "two", 2.0))
    before = {p.name: p.read_bytes() for p in first.files}
    result = extract(tmp_path, manifest, letters(tmp_path, "one"), letters(tmp_path, "two", 3.0))
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
    refuse(tmp_path, b="too_short")
    result = extract(tmp_path, corpus("a", "b"))
    (failure,) = result.failed
    assert (failure.utterance, failure.status, failure.reason) == ("u1", "missing", "too_short")
    assert failure.detail == "words of the tool"
    calls(tmp_path)
    assert extract(tmp_path, corpus("a", "b")).failed[0].reason == "too_short"
    assert calls(tmp_path) == []


def test_unavailable_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    refuse(tmp_path, b="out_of_memory")
    result = extract(tmp_path, corpus("a", "b"), fail_over=50)
    assert result.failed[0].status == "unavailable" and len(result.files) == 1
    refuse(tmp_path)
    again = extract(tmp_path, corpus("a", "b"))
    assert again.failed == []
    with CacheFile(again.files[0]) as cache:
        assert cache["u1"]["pooled"].tolist() == [[1, 0]]


def test_over_the_threshold_no_file_is_written(tmp_path: Path) -> None:
    refuse(tmp_path, b="out_of_memory")
    result = extract(tmp_path, corpus("a", "b"), fail_over=49)
    assert result.files == [] and not list((tmp_path / "caches").rglob("*.h5"))
    with pytest.raises(
        WorkError,
        match=r"1 of 2 utterances unavailable \(1 out_of_memory; the first: u1, letters: words of the tool\)",
    ):
        raise_if_withheld(result, 49)


def test_values_that_are_not_finite_never_reach_a_cache(tmp_path: Path) -> None:
    result = extract(tmp_path, corpus("aa", "bbb"), letters(tmp_path, scale=3e38))
    assert {(f.status, f.reason) for f in result.failed} == {("unavailable", "fault")}, "no text overflows"
    assert "not finite, in float32" in result.failed[0].detail and result.files == []


def test_an_encoder_that_breaks_on_one_input_loses_that_input_alone(tmp_path: Path) -> None:
    refuse(tmp_path, d="raise")
    result = extract(tmp_path, corpus("c", "d", "a"), fail_over=50)
    (failure,) = result.failed
    assert (failure.utterance, failure.status, failure.reason) == ("u1", "unavailable", "fault")
    assert failure.detail == "RuntimeError: broken"
    assert result.run_singly == {"letters"}, "its forward was run one by one, which is told"


def test_a_modality_that_the_corpus_lacks_is_an_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no utterance has text"):
        extract(tmp_path, corpus("", ""))
    assert not (tmp_path / "store").exists()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=30), st.integers(1, 7))
def test_the_plan_holds_every_distinct_input_once(texts: list[str], shard: int) -> None:
    manifest, feature = corpus(*texts), letters(Path("x"))
    engine = EngineParams(text_shard=shard)
    plan = make_plan(manifest, manifest.utterances, [feature], engine)
    planned = [s.text for shard_ in plan.shards for s in shard_]
    assert sorted(map(str, planned)) == sorted(set(texts))
    assert all(1 <= len(s) <= shard for s in plan.shards)
    again = make_plan(manifest, manifest.utterances, [feature], engine)
    assert again == plan, "a pure function of manifest and params"
    keys = [plan.keys["letters"][u.id] for u in manifest.utterances]
    assert len(set(keys)) == len(set(texts))


def test_a_sound_with_two_pictures_is_encoded_once() -> None:
    sound = MediaRef("a.wav", sha256="a")
    rows = [
        replace(u, audio=sound, video=MediaRef(f"{u.id}.mp4", sha256=u.id))
        for u in corpus("a", "b").utterances
    ]
    plan = make_plan(corpus("a", "b"), rows, [letters(Path("x"), "loud", kind=Loud)], EngineParams())
    assert [len(shard) for shard in plan.shards] == [2]
    assert plan.rows == ({"loud": (0,)},)
    assert plan.keys["loud"]["u0"] == plan.keys["loud"]["u1"]


def test_media_without_reference_or_file_need_no_unit() -> None:
    manifest = corpus("a", "b")
    absent = replace(manifest.utterances[1], audio=MediaRef("x.wav"))
    rows = (manifest.utterances[0], absent)
    plan = make_plan(manifest, rows, [letters(Path("x"), "loud", kind=Loud)], ENGINE)
    assert plan.keys["loud"] == {"u0": Reason.NOT_IN_CORPUS, "u1": Reason.ABSENT}
    assert plan.shards == ()


def test_when_the_memory_runs_out_a_forward_is_run_one_by_one(tmp_path: Path) -> None:
    refuse(tmp_path, a="memory together", huge="memory")
    result = extract(tmp_path, corpus("a", "b", "huge"), fail_over=50)
    assert [(f.utterance, f.status, f.reason) for f in result.failed] == [
        ("u2", "unavailable", "out_of_memory")
    ]
    assert result.run_singly == {"letters"}


def test_a_finished_result_outlives_a_later_failure(tmp_path: Path) -> None:
    refuse(tmp_path, bb="timeout")
    extract(tmp_path, corpus("a", "bb"), fail_over=50)
    refuse(tmp_path, bb="timeout", a="timeout")
    again = extract(tmp_path, corpus("a", "bb"), fail_over=50)
    assert [f.utterance for f in again.failed] == ["u1"]
    with CacheFile(again.files[0]) as cache:
        assert cache["u0"]["pooled"].tolist() == [[1, 0]]


def test_precision_is_part_of_the_key_and_recorded(tmp_path: Path) -> None:
    extract(tmp_path, corpus("a", "b"))
    halved = ENGINE.model_copy(update={"precision": "bfloat16"})
    store, out = tmp_path / "store", tmp_path / "caches"
    again = extract_corpus(corpus("a", "b"), [letters(tmp_path)], halved, store=store, out=out)
    assert (again.done, again.reused) == (2, 0)
    with CacheFile(again.files[0]) as cache:
        assert [made["precision"] for made in cache.provenance["made"]] == ["bfloat16"]


def test_coverage_is_counted_for_dvc(tmp_path: Path) -> None:
    refuse(tmp_path, b="too_short")
    extract(tmp_path, corpus("a", "b", "c"))
    counts = json.loads((tmp_path / "caches/toy/text/coverage.json").read_text())
    assert counts == {"letters": {"train": {"ok": 2, "too_short": 1}}}


def test_what_is_unavailable_is_told_by_reason_with_the_words_of_the_first(tmp_path: Path) -> None:
    refuse(tmp_path, a="raise", bb="memory", ccc="raise", d="too_short")
    result = extract(tmp_path, corpus("a", "bb", "ccc", "d", "eeee"), fail_over=90)
    assert summarise_failures(result.unavailable) == (
        "2 fault, 1 out_of_memory; the first: u0, letters: RuntimeError: broken"
    )
    assert [f.utterance for f in result.unavailable] == ["u0", "u1", "u2"], (
        "missing is final, and not among them"
    )


def test_the_words_of_a_tool_are_one_line_however_much_it_says() -> None:
    failure = Failure("u0", "loud", "unavailable", "fault", "Traceback:\n  line\n" + 500 * "x")
    assert "\n" not in summarise_failures([failure]) and len(summarise_failures([failure])) < 350
    assert summarise_failures([replace(failure, detail="")]).endswith(Reason.FAULT.meaning)
