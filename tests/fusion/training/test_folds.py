"""Folds: each is trained separately and tested once; together they are one run, resumable, without leaks."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from scipy.stats import ttest_rel

from ercache import metrics
from ercache.errors import UsageError
from ercache.manifest import Manifest, write_manifest
from ercache.params.schema import ExperimentParams, Params
from fusion.evaluation.evaluate import evaluate
from fusion.evaluation.significance import compare
from fusion.experiment.source import Source
from fusion.training.run import train_experiment
from tests.support.toy_corpus import CLASSES, toy_manifest, toy_params, toy_vectors, write_feature, write_toy

FOLDS = ("loso/a", "loso/b", "loso/c")


def folded(manifest: Manifest) -> Manifest:
    """Three folds over all dialogues; the group after the tested one is the validation data."""
    rank = {
        dialogue: n % 3 for n, dialogue in enumerate(dict.fromkeys(u.dialogue for u in manifest.utterances))
    }
    splits: dict[str, Any] = dict(manifest.splits)
    for n, fold in enumerate(FOLDS):
        place = {n: "test", (n + 1) % 3: "dev", (n + 2) % 3: "train"}
        splits[fold] = {
            subset: tuple(u.id for u in manifest.utterances if place[rank[u.dialogue]] == subset)
            for subset in ("train", "dev", "test")
        }
    return replace(manifest, splits=splits, promises=dict.fromkeys(FOLDS, ("dialogue",)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path / "data")
    write_manifest(folded(toy_manifest()), tmp_path / "data/manifests/toy.jsonl")
    return tmp_path / "data"


def params(**entry: Any) -> Params:
    training = {"seeds": 2, "epochs": 3, "batch": 4, "lr": 0.01}
    return toy_params(**{"folds": "loso", "training": training, **entry})


def train(data: Path, loaded: Params | None = None, **how: Any) -> dict[str, Any]:
    return train_experiment("exp", loaded or params(), data, work=data.parent / "work", **how)


def run_of(data: Path, where: str = "exp") -> dict[str, Any]:
    run: dict[str, Any] = json.loads((data / "models" / where / "run.json").read_text())
    return run


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_utterance_is_tested_once_and_the_folds_are_scored_together(data: Path) -> None:
    answer = train(data)
    assert list(answer["folds"]) == list(FOLDS) and "split" not in answer and answer["seeds"] == [0, 1]
    assert len(answer["epochs"]) == 6 and answer["selected_on"] == "validation"
    rows = parquet.read_table(data / "models/exp/predictions.parquet").to_pylist()
    labelled = {u.id: u.labels["emotion7"] for u in toy_manifest().utterances}
    for seed in (0, 1):
        test = [r for r in rows if r["subset"] == "test" and r["seed"] == seed]
        assert sorted(r["id"] for r in test) == sorted(labelled)
        assert all(r["label"] == labelled[r["id"]] for r in test)
    right = [
        np.mean(
            [
                r["label"] == r["predicted"]
                for r in rows
                if r["subset"] == "test" and r["seed"] == s and r["label"]
            ]
        )
        for s in (0, 1)
    ]
    accuracy = answer["test"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(np.mean(right))
    assert accuracy["std"] == pytest.approx(np.std(right, ddof=1))
    assert accuracy["ci95"][0] <= accuracy["mean"] <= accuracy["ci95"][1]
    own = [fold["test"]["accuracy"]["mean"] for fold in answer["folds"].values()]
    assert answer["over_folds"]["accuracy"]["mean"] == pytest.approx(np.mean(own))
    assert answer["over_folds"]["accuracy"]["std"] == pytest.approx(np.std(own, ddof=1))
    assert not list((data.parent / "work").iterdir())


def test_the_t_test_pairs_the_trainings_of_all_folds(data: Path) -> None:
    train(data)
    (data / "models/exp").rename(data / "models/both")
    train(data, params(features={"text": ["words"]}))
    (row,) = compare([data / "models/both", data / "models/exp"], "uar")
    ours, theirs = (
        [
            metrics.scores(*labels_of(data / "models" / name / "folds" / fold, seed), 3)["uar"]
            for fold in "abc"
            for seed in (0, 1)
        ]
        for name in ("both", "exp")
    )
    assert row["trainings"] == 6 and row["p_t"] == pytest.approx(ttest_rel(ours, theirs).pvalue)


def labels_of(folder: Path, seed: int) -> tuple[Any, Any]:
    """True and predicted classes of the labelled test utterances of one seed."""
    rows = parquet.read_table(folder / "predictions.parquet").to_pylist()
    held = [r for r in rows if r["subset"] == "test" and r["seed"] == seed and r["label"]]
    truth, predicted = ([CLASSES.index(r[key]) for r in held] for key in ("label", "predicted"))
    return np.array(truth), np.array(predicted)


def test_a_fold_equals_a_training_on_its_split_alone(data: Path) -> None:
    train(data)
    fold = bytes_of(data / "models/exp/folds/b")
    train(data, params(folds=None, split="loso/b"))
    alone = bytes_of(data / "models/exp")
    assert {n for n in fold if fold[n] != alone[n]} == {"run.json"}  # the experiment's name alone
    ours, theirs = json.loads(fold["run.json"]), json.loads(alone["run.json"])
    assert ours.pop("experiment") == "exp, loso/b" and theirs.pop("experiment") == "exp" and ours == theirs


def test_folds_that_are_done_are_neither_trained_nor_tested_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(data)
    uninterrupted = bytes_of(data / "models/exp")
    shutil.rmtree(data / "models")

    def kill(what: str, _: object) -> None:
        if what == "exp, loso/b, seed 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, progress=kill)
    assert not (data / "models/exp").exists()
    told: set[str] = set()
    tested: list[str] = []
    subset = Source.subset

    def watched(source: Source, name: str) -> Any:
        tested.extend([source.split] if name == "test" else [])
        return subset(source, name)

    monkeypatch.setattr(Source, "subset", watched)
    train(data, progress=lambda what, *_: told.add(what))
    assert not any("loso/a" in what for what in told) and "exp, loso/c, seed 0" in told
    assert tested == ["loso/b", "loso/c"]
    assert bytes_of(data / "models/exp") == uninterrupted


def test_evaluate_and_compare_take_a_run_with_folds(data: Path) -> None:
    train(data)
    run, again = run_of(data), evaluate(data / "models/exp", data)
    assert [again[k] for k in ("test", "per_class", "confusion")] == [
        run[k] for k in ("test", "per_class", "confusion")
    ]
    assert again["marks"] == []
    shutil.copytree(data / "models/exp", data / "models/other")
    (row,) = compare([data / "models/exp", data / "models/other"])
    assert row["difference"] == 0 and row["p_mcnemar"] == 1


def with_extractor(corpus: str) -> Params:
    """The words come from an extractor that was trained on a corpus."""
    loaded = params(features={"text": ["words"], "audio": ["sound"]})
    raw: Mapping[str, Any] = {
        **loaded.model_dump(),
        "features": {"words": {"encoder": "toy/words", "pretrained": "made"}},
        "pretrain": {"made": {"extractor": "toy/words", "corpus": corpus}},
    }
    return Params.model_validate(raw)


def write_fold_features(data: Path, seen: dict[str, Any]) -> None:
    """Write `words@<fold>` for each fold, from an extractor that has seen the utterances of `seen`."""
    manifest = folded(toy_manifest())
    for fold in FOLDS:
        made = {"seen": {"toy": list(seen[fold])}, "params": {"pretrained": f"made@{fold}"}}
        write_feature(data, manifest, "words", toy_vectors(manifest, "words"), **made)
        for part in manifest.parts:
            target = data / f"caches/toy/text/words@{fold}.{part}.h5"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(data / f"caches/toy/text/words.{part}.h5", target)


def test_a_fold_takes_the_features_of_its_own_extractor(data: Path) -> None:
    splits = folded(toy_manifest()).splits
    write_fold_features(data, {fold: splits[fold]["train"] + splits[fold]["dev"] for fold in FOLDS})
    answer = train(data, with_extractor("toy"))
    assert answer["marks"] == []
    for fold in FOLDS:
        run = run_of(data, f"exp/folds/{fold[-1]}")
        assert run["features"] == {"text": [f"words@{fold}"], "audio": ["sound"]}
    assert "toy/text/words@loso/c.dev.h5" in run_of(data)["provenance"]["caches"]


def test_an_extractor_that_has_seen_the_test_part_of_its_fold_is_refused(data: Path) -> None:
    splits = folded(toy_manifest()).splits
    seen = {fold: splits[fold]["train"] for fold in FOLDS}
    write_fold_features(data, {**seen, "loso/b": splits["loso/b"]["test"]})
    with pytest.raises(UsageError, match="1 problem in 1 of 3 folds") as told:
        train(data, with_extractor("toy"))
    assert told.value.details[0].startswith("loso/b: words@loso/b: its checkpoint has seen ")
    assert not (data / "models").exists()


def test_missing_features_of_all_folds_are_reported_before_any_training(data: Path) -> None:
    with pytest.raises(UsageError) as told:
        train(data, with_extractor("toy"))
    assert (
        len(told.value.details) == 9 and "words@loso/c.test.h5: no such cache file" in told.value.details[-1]
    )
    assert "ercache extract toy --features words@loso/a" in told.value.hint
    assert (
        train(data, with_extractor("other"))["marks"] == []
    )  # of another corpus: one extractor for all folds


def test_unknown_folds_and_folds_that_test_an_utterance_twice_are_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="unknown folds 'losso'") as told:
        train(data, params(folds="losso"))
    assert told.value.hint == "did you mean 'loso'?"
    manifest = folded(toy_manifest())
    twice = {**manifest.splits, "loso/c": manifest.splits["loso/b"]}
    write_manifest(replace(manifest, splits=twice), data / "manifests/toy.jsonl")
    with pytest.raises(UsageError, match="utterances more than once"):
        train(data)
    with pytest.raises(ValueError, match="split or folds"):
        params(split="loso/a")


def test_a_fold_that_shares_a_dialogue_between_its_subsets_is_refused(data: Path) -> None:
    manifest = folded(toy_manifest())
    fold = manifest.splits["loso/a"]
    moved = {**fold, "train": (*fold["train"], fold["test"][0]), "test": fold["test"][1:]}
    write_manifest(
        replace(manifest, splits={**manifest.splits, "loso/a": moved}), data / "manifests/toy.jsonl"
    )
    with pytest.raises(UsageError) as told:
        train(data)
    assert any("loso/a" in d and "test and train share dialogue" in d for d in told.value.details)


def test_an_experiment_without_folds_has_the_digest_that_it_had_before_there_were_any() -> None:
    entry = ExperimentParams(model="concat", corpus="toy", features={"text": ["words"]})
    assert "folds" not in entry.model_dump(mode="json")
