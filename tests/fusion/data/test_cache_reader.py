"""All problems of labels and caches are reported together, before any training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.errors import UsageError
from ercache.manifest import Manifest, Problem, write_manifest
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import Source, provenance_of, read_source
from fusion.training.run import train_experiment
from tests.support.toy_corpus import CLASSES, toy_manifest, toy_params, toy_vectors, write_feature, write_toy


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path)
    return tmp_path


def read(
    data: Path,
    allow: bool = False,
    subsets: tuple[str, ...] = ("train", "dev", "test"),
    leak: bool = False,
    **entry: Any,
) -> Source:
    experiment = toy_params(**entry).experiments["exp"]
    return read_source(data, experiment, subsets, allow_random_weights=allow, allow_leak=leak)


def told(data: Path, **entry: Any) -> UsageError:
    with pytest.raises(UsageError) as error:
        read(data, **entry)
    return error.value


def rewrite(data: Path, feature: str = "words", **provenance: Any) -> None:
    manifest = toy_manifest()
    write_feature(data, manifest, feature, toy_vectors(manifest, feature), **provenance)


def test_features_of_a_modality_are_joined_and_one_missing_makes_it_absent(data: Path) -> None:
    manifest = toy_manifest()
    (data / "caches/toy/text").rename(data / "caches/toy/visual2")
    for file in (data / "caches/toy/visual2").iterdir():
        shutil.copy(file, data / "caches/toy/visual")
    source = read(data, features={"visual": ["words", "face"]})
    joined = source.modalities["visual"]
    words, face = toy_vectors(manifest, "words"), toy_vectors(manifest, "face")
    assert joined.values.shape == (len(manifest.utterances), 10)
    for i, u in enumerate(manifest.utterances):
        assert joined.present[i] == (u.id in face)
        expected = np.concatenate([words[u.id][0], face[u.id][0]]) if u.id in face else np.zeros(10)
        assert np.array_equal(joined.values[i], expected)


def test_all_problems_are_reported_together_with_the_remedy(data: Path) -> None:
    (data / "caches/toy/audio/sound.dev.h5").unlink()
    (data / "caches/toy/visual/face.test.h5").unlink()
    rewrite(data, "words", corpus="other")
    error = told(data)
    text = "\n".join(error.details)
    assert "sound.dev.h5: no such cache file" in text and "face.test.h5: no such cache file" in text
    assert "words.train.h5: a cache of corpus 'other', not 'toy'" in text
    assert error.hint == "ercache extract toy --features sound,face"
    assert error.exit_code == 2


def test_other_ids_than_those_of_the_manifest_are_refused(data: Path) -> None:
    manifest = toy_manifest()
    fewer = replace(manifest, utterances=manifest.utterances[1:], splits={})
    write_feature(data, fewer, "words", toy_vectors(manifest, "words"))
    assert any("other ids than the manifest: lacks train_d0_u0" in d for d in told(data).details)


def test_nan_and_infinite_values_are_refused(data: Path) -> None:
    manifest = toy_manifest()
    vectors = toy_vectors(manifest, "sound")
    vectors["dev_d1_u2"][0, 1], vectors["dev_d2_u0"][0, 0] = np.nan, np.inf
    write_feature(data, manifest, "sound", vectors)
    assert any("NaN or infinite values in dev_d1_u2, dev_d2_u0" in d for d in told(data).details)


def test_a_sequence_where_a_vector_is_needed_is_refused(data: Path) -> None:
    rewrite(data, kind="sequence")
    details = told(data).details
    assert any(
        "no array of kind vector, which a pooled model takes (arrays: pooled (sequence))" in d
        for d in details
    )


def test_a_flipped_bit_and_a_file_of_another_format_are_refused(data: Path) -> None:
    path = data / "caches/toy/text/words.train.h5"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    (data / "caches/toy/audio/sound.dev.h5").write_bytes(b"nothing")
    text = "\n".join(told(data).details)
    assert "words.train.h5: the content differs" in text and "sound.dev.h5: not a cache file" in text


def test_unknown_label_set_and_split_name_the_nearest(data: Path) -> None:
    text = "\n".join(told(data, label_set="emotion", split="oficial").details)
    assert "unknown label set 'emotion'; did you mean 'emotion7'?" in text
    assert "unknown split 'oficial'; did you mean 'official'?" in text


def test_a_split_that_the_scan_did_not_make_is_refused_with_the_reason(data: Path) -> None:
    why = Problem(None, "note", "split_not_made", "dialogues: the folder holds 1; add recordings")
    other = Problem(None, "note", "split_not_made", "speakers: too few")
    manifest = replace(toy_manifest(), splits={}, problems=(why, other))
    write_manifest(manifest, data / "manifests/toy.jsonl")
    details = told(data, split="dialogues").details
    assert f"unknown split 'dialogues'; known: none; {why.detail}" in details


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dev": ()}, "split 'official': dev is empty"),
        ({"dev": ("train_d1_u3",)}, "dev is empty or has no 'emotion7' label"),
        ({"dev": ("train_d1_u1",)}, "dev and train share utterances"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(
    data: Path, change: dict[str, tuple[str, ...]], expected: str
) -> None:
    manifest = toy_manifest()
    split = {**manifest.splits["official"], **change}
    write_manifest(replace(manifest, splits={"official": split}), data / "manifests/toy.jsonl")
    assert any(expected in d for d in told(data).details)


def test_a_split_that_promises_to_keep_speakers_apart_and_does_not_is_refused(data: Path) -> None:
    manifest = toy_manifest()  # the same people speak in all of its dialogues
    official = manifest.splits["official"]
    splits = {"actors": official, "own": official}
    write_manifest(
        replace(manifest, splits=splits, promises={"actors": ("speaker",)}), data / "manifests/toy.jsonl"
    )
    assert any(
        "split 'actors': test and train share speaker" in d for d in told(data, split="actors").details
    )
    assert read(data, split="own").findings.marks == []


def test_a_label_outside_its_set_is_refused(data: Path) -> None:
    manifest = replace(toy_manifest(), label_sets={"emotion7": CLASSES[:2]})
    write_manifest(manifest, data / "manifests/toy.jsonl")
    assert "label 'anger' is not in the label set 'emotion7'" in told(data).details


def test_random_weights_are_refused_unless_allowed_and_then_marked(data: Path) -> None:
    rewrite(data, weights={"id": "x", "random": True})
    assert any("random weights" in d for d in told(data).details)
    source = read(data, allow=True)
    assert source.findings.marks == ["random weights"] and source.findings.random_weights


def test_an_extractor_of_another_corpus_marks_the_result(data: Path) -> None:
    rewrite(data, weights={"id": "made/x", "trained_on": ["demo"]})
    assert any(mark.endswith("trained on demo") for mark in read(data).findings.marks)


def test_how_an_extractor_was_trained_is_part_of_the_origin_of_a_result(data: Path) -> None:
    assert "extractor" not in provenance_of(read(data))["encoders"]["words"]
    trained = {"config": {"size": "tiny"}, "training": {"epochs": 1}, "labels": "class", "seen": {"toy": 9}}
    rewrite(data, extractor=trained)
    assert provenance_of(read(data))["encoders"]["words"]["extractor"] == trained


def test_a_checkpoint_that_has_seen_the_test_part_is_refused_unless_allowed_and_then_marked(
    data: Path,
) -> None:
    rewrite(data, weights={"id": "x", "seen": {"toy": ["train", "test"]}})
    seen = "has seen test of toy, which holds test data"
    accept = "(--allow-leak accepts it and marks the result)"
    assert told(data).details == (f"words: its checkpoint {seen} {accept}",)
    source = read(data, leak=True)
    assert (
        source.findings.marks == [f"leak: the checkpoint of words {seen}"]
        and provenance_of(source)["leak"] is True
    )
    assert not provenance_of(read(data, features={"audio": ["sound"]}))["leak"]


def test_a_checkpoint_that_has_seen_train_or_another_corpus_is_no_leak(data: Path) -> None:
    rewrite(data, weights={"id": "x", "seen": {"toy": ["train", "dev"], "other": ["test"]}})
    assert read(data).findings.marks == []
    split = {**toy_manifest().splits["official"], "test": ("dev_d3_u0",), "dev": ("dev_d0_u0",)}
    write_manifest(replace(toy_manifest(), splits={"official": split}), data / "manifests/toy.jsonl")
    assert any("has seen dev of toy" in d for d in told(data).details)


def with_records(data: Path, manifest: Manifest) -> None:
    for part in manifest.parts:
        one = replace(manifest, utterances=manifest.of_part(part), splits={})
        digest = manifest.records_digest("text", part)
        write_feature(data, one, "words", toy_vectors(manifest, "words"), records=digest)


def test_caches_of_other_text_are_stale(data: Path) -> None:
    with_records(data, toy_manifest())
    assert read(data).findings.marks == []
    rows = [replace(u, text="other") if u.id == "dev_d0_u0" else u for u in toy_manifest().utterances]
    write_manifest(replace(toy_manifest(), utterances=tuple(rows)), data / "manifests/toy.jsonl")
    error = told(data)
    assert (
        len(error.details) == 1
        and "words.dev.h5: outdated: text or media in the manifest" in error.details[0]
    )
    assert error.hint == "ercache extract toy --features words"


def test_partial_caches_are_refused(data: Path) -> None:
    rewrite(data, partial=True)
    error = told(data)
    assert len(error.details) == 3 and all("a partial cache" in d for d in error.details)
    assert error.hint == "ercache extract toy --features words"


def test_a_modality_that_no_utterance_of_train_has_is_refused(data: Path) -> None:
    manifest = toy_manifest()
    vectors = {i: v for i, v in toy_vectors(manifest, "face").items() if not i.startswith("train")}
    write_feature(data, manifest, "face", vectors)
    assert any(
        "modality 'visual': no utterance of train has all features of this modality" in d
        for d in told(data).details
    )


def without_joy(manifest: Manifest) -> Manifest:
    rows = [
        replace(u, labels={"emotion7": None}) if u.part == "train" and u.labels["emotion7"] == "joy" else u
        for u in manifest.utterances
    ]
    return replace(manifest, utterances=tuple(rows))


def test_a_class_without_examples_and_an_unknown_origin_are_marked(data: Path) -> None:
    write_manifest(without_joy(toy_manifest()), data / "manifests/toy.jsonl")
    rewrite(data, encoder=None)
    assert read(data).findings.marks == ["origin of words unknown", "class joy has no example in train"]


def test_parts_that_were_made_differently_are_refused(data: Path) -> None:
    old = (data / "caches/toy/text/words.train.h5").read_bytes()
    rewrite(data, version=2)
    (data / "caches/toy/text/words.train.h5").write_bytes(old)
    assert (
        "words: the cache files of this feature differ in version; extract the feature again"
        in told(data).details
    )


def test_only_caches_that_the_subsets_need_are_read(data: Path) -> None:
    for path in (data / "caches").rglob("*.test.h5"):
        path.unlink()
    source = read(data, subsets=("train", "dev"))
    assert source.subset("dev").name == "dev"
    assert not any("test" in name for name in source.findings.digests)


def test_a_corpus_without_a_manifest_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="manifest not found"):
        read(data, corpus="nowhere")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"model": "m2fnt"}, "did you mean 'm2fnet'"),
        ({"preset": "smal"}, "did you mean 'small'"),
        ({"config": {"hiden": 3}}, "did you mean 'hidden'"),
        ({"features": {"text": []}}, "modality 'text' names no feature"),
    ],
)
def test_wrong_experiments_name_the_nearest(entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as error:
        experiment_of("exp", toy_params(**entry))
    assert expected in str(error.value)
    with pytest.raises(UsageError, match="unknown experiment 'ex'"):
        experiment_of("ex", toy_params())


def test_the_unlabelled_are_kept_unless_the_experiment_drops_them(data: Path) -> None:
    kept, left = read(data), read(data, unlabelled="drop")
    assert read(data, unlabelled="keep").subset("test").lengths.tolist() == [3, 4, 5, 6]
    assert kept.subset("test").lengths.tolist() == [3, 4, 5, 6]
    assert left.subset("test").lengths.tolist() == [3, 3, 4, 5]
    assert provenance_of(kept)["unlabelled"] == "keep" and provenance_of(left)["unlabelled"] == "drop"
    assert kept.findings.digests == left.findings.digests  # no cache knows of labels
    with pytest.raises(ValueError, match="unlabelled"):
        toy_params(unlabelled="context")


@pytest.mark.parametrize("unlabelled", ["keep", "drop"])
def test_scores_are_of_the_labelled_whether_the_others_are_context_or_dropped(
    data: Path, unlabelled: str
) -> None:
    params = toy_params(unlabelled=unlabelled)
    train_experiment("exp", params, data, work=data / "work")
    run = json.loads((data / "models/exp/run.json").read_text())
    tests = [u for u in toy_manifest().of_part("test")]
    labelled = [u.id for u in tests if u.labels["emotion7"] is not None]
    assert len(labelled) < len(tests)
    assert np.sum(run["confusion"]) == len(labelled) * params.training_of(params.experiments["exp"]).seeds
    assert sum(row["support"] for row in run["per_class"].values()) == len(labelled)
    rows = parquet.read_table(data / "models/exp/predictions.parquet").to_pylist()
    said = [r["id"] for r in rows if r["seed"] == 0 and r["subset"] == "test"]
    assert said == ([u.id for u in tests] if unlabelled == "keep" else labelled)


def test_a_modality_that_only_unlabelled_utterances_of_train_have_is_refused(data: Path) -> None:
    manifest = toy_manifest()
    vectors = toy_vectors(manifest, "face")
    only = {
        u.id: vectors.get(u.id, np.ones((1, 4), "f4"))
        for u in manifest.utterances
        if u.part != "train" or u.labels["emotion7"] is None
    }
    write_feature(data, manifest, "face", only)
    assert read(data).modalities["visual"].present.any()
    assert told(data, unlabelled="drop").details == (
        "modality 'visual': no utterance of train has all features of this modality",
    )


def test_features_of_an_extractor_that_has_seen_a_test_utterance_are_refused(data: Path) -> None:
    ids = [u.id for u in toy_manifest().utterances if u.part != "test"]
    rewrite(data, seen={"toy": ids, "other": ["test_d0_u0"]})
    assert read(data).findings.marks == [], "train and dev are what it should have seen"
    rewrite(data, seen={"toy": [*ids, "test_d0_u0"]})
    told_of = "words: its checkpoint has seen 1 test utterances of toy (test_d0_u0)"
    assert [d.split(" (--")[0] for d in told(data).details] == [told_of]
    source = read(data, leak=True)
    assert provenance_of(source)["leak"] is True and "test_d0_u0" in source.findings.marks[0]


def test_an_utterance_without_its_optional_part_lacks_the_modality(data: Path) -> None:
    manifest = toy_manifest()
    scene, face = toy_vectors(manifest, "sound"), toy_vectors(manifest, "face")
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {"a": scene[i], "b": face.get(i, np.empty((0, 4), np.float32))} for i in ids}
        entries = [Entry(i, Status.OK, "", 1, "", content_digest(arrays[i])) for i in ids]
        made = {"corpus": "toy", "part": part, "feature": "dual", "encoder": "toy/dual"}
        specs = [ArraySpec("a", "vector", ("u", "d"), (5,)), ArraySpec("b", "optional", ("u", "d"), (4,))]
        write_cache(data / f"caches/toy/visual/dual.{part}.h5", specs, entries, arrays, made)
    joined = read(data, features={"visual": ["dual"]}).modalities["visual"]
    has = np.array([u.id in face for u in manifest.utterances])
    assert (joined.present == has).all() and not has.all()
    both = np.concatenate(
        [np.concatenate([scene[u.id], face[u.id]], 1) for u in manifest.utterances if u.id in face]
    )
    assert (joined.values[has] == both).all() and not joined.values[~has].any()
