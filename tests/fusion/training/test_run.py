"""A whole training: the run folder, equal bytes, resuming after a kill, and reproduced scores."""

import csv
import json
import multiprocessing
import queue
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as parquet
import pytest
from safetensors import safe_open

from ercache import metrics
from ercache.errors import UsageError, WorkError
from ercache.manifest import write_manifest
from ercache.training import loop as training
from fusion.evaluation.evaluate import evaluate
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import Source
from fusion.models import MODELS
from fusion.training import parallel
from fusion.training.run import train_experiment
from fusion.training.write_run import device_class
from tests.support.toy_corpus import (
    CLASSES,
    FEATURES,
    toy_manifest,
    toy_params,
    toy_vectors,
    write_feature,
    write_toy,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path / "data")
    return tmp_path / "data"


def train(data: Path, **entry: Any) -> dict[str, Any]:
    return train_experiment("exp", toy_params(**entry), data, work=data.parent / "work")


def run_of(data: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((data / "models/exp/run.json").read_text())
    return run


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_folder_holds_what_its_format_says(data: Path) -> None:
    answer = train(data)
    run, folder = run_of(data), data / "models/exp"
    assert (
        answer["seeds"] == [0, 1] and answer["selected_on"] == "validation" and answer["path"] == str(folder)
    )
    assert answer["test"] == run["test"] and set(run["test"]) == {m.key for m in metrics.in_order(3)}
    assert run["classes"] == list(CLASSES) and run["modalities"] == ["text", "audio", "visual"]
    assert run["widths"] == {"text": 6, "audio": 5, "visual": 4}
    absent = sum(u.id not in toy_vectors(toy_manifest(), "face") for u in toy_manifest().of_part("test"))
    assert run["missing"]["test"] == {"text": 0, "audio": 0, "visual": absent}
    assert set(run["provenance"]["caches"]) == {
        f"toy/{m}/{f}.{part}.h5"
        for m, f in (("text", "words"), ("audio", "sound"), ("visual", "face"))
        for part in ("train", "dev", "test")
    }
    flat = json.loads((folder / "metrics.json").read_text())
    assert flat["test_uar"] == run["test"]["uar"]["mean"]
    assert flat["validation_weighted_f1"] == run["validation"]["weighted_f1"]["mean"]
    with safe_open(folder / "seed1/model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ercache"])["seed"] == 1
    assert not list((data / "models").glob(".*")) and not list((data.parent / "work").iterdir())


def test_tables_agree_with_the_scores(data: Path) -> None:
    train(data)
    run, folder = run_of(data), data / "models/exp"
    rows = parquet.read_table(folder / "predictions.parquet").to_pylist()
    test = [r for r in rows if r["subset"] == "test"]
    manifest = toy_manifest()
    assert [r["id"] for r in test if r["seed"] == 0] == [u.id for u in manifest.of_part("test")]
    assert any(r["label"] is None for r in test)  # unlabelled utterances are predicted, never scored
    assert all(sum(r[f"p_{c}"] for c in CLASSES) == pytest.approx(1, abs=1e-5) for r in rows)
    known = [r for r in test if r["label"]]
    accuracy = [np.mean([r["label"] == r["predicted"] for r in known if r["seed"] == s]) for s in (0, 1)]
    assert run["test"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracy))
    assert np.sum(run["confusion"]) == len(known)
    with (folder / "confusion.csv").open() as stream:
        pairs = [(r["actual"], r["predicted"]) for r in csv.DictReader(stream)]
    assert pairs == [(r["label"], r["predicted"]) for r in known]
    with (folder / "curves.csv").open() as stream:
        curves = [r for r in csv.DictReader(stream) if r["seed"] == "1"]
    best = max(curves, key=lambda r: (float(r["validation_weighted_f1"]), -int(r["epoch"])))
    assert int(best["epoch"]) == run["epochs"][1]


@pytest.mark.parametrize("model", [key for key, entry in MODELS.items() if not entry.roles])
def test_equal_inputs_give_equal_bytes_and_evaluate_reproduces_them(data: Path, model: str) -> None:
    features = {m: names for m, names in FEATURES.items() if m in MODELS[model].modalities}
    entry = {"model": model, "features": features, "task": MODELS[model].tasks[0]}
    train(data, **entry)
    first = bytes_of(data / "models/exp")
    train(data, **entry)
    assert bytes_of(data / "models/exp") == first
    run, again = run_of(data), evaluate(data / "models/exp", data)
    assert [again[k] for k in ("test", "per_class", "confusion")] == [
        run[k] for k in ("test", "per_class", "confusion")
    ]
    assert evaluate(data / "models/exp", data, "dev")["dev"] == run["validation"]
    assert again["marks"] == []


def test_epoch_statistics_of_a_model_become_columns_of_the_curves(data: Path) -> None:
    train(data, model="avafn", features={m: FEATURES[m] for m in ("audio", "visual")})
    with (data / "models/exp/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert all(float(r["alpha"]) + float(r["beta"]) == pytest.approx(1, abs=1e-6) for r in rows)
    assert len({r["alpha"] for r in rows}) > 1


def test_a_killed_training_ends_with_the_same_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_PAUSE", 0)
    train(data)
    uninterrupted = bytes_of(data / "models/exp")
    shutil.rmtree(data / "models")

    def kill(what: str, epoch: training.EpochReport) -> None:
        if (what, epoch.number) == ("exp, seed 1", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_experiment("exp", toy_params(), data, work=data.parent / "work", progress=kill)
    assert not (data / "models/exp").exists() and list((data.parent / "work").iterdir())
    told: list[tuple[str, int]] = []
    params, work = toy_params(), data.parent / "work"
    train_experiment(
        "exp", params, data, work=work, progress=lambda what, epoch: told.append((what, epoch.number))
    )
    assert told == [("exp, seed 1", 5), ("exp, seed 1", 6)]
    assert bytes_of(data / "models/exp") == uninterrupted


def wait_for_a_helper(job: parallel.SeedJob, taken: Any) -> int | None:
    """Leave the first seed to a helper, and wait until it has taken it."""
    while not taken.value:
        time.sleep(0.05)
    return take(job, taken)


take = parallel._next


def test_parallel_seeds_give_the_same_bytes_as_sequential_ones(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_next", wait_for_a_helper)
    train(data, training={"seeds": 3, "epochs": 3})
    one_by_one = bytes_of(data / "models/exp")
    shutil.rmtree(data / "models")
    told: set[tuple[str, int]] = set()
    params, work = toy_params(training={"seeds": 3, "epochs": 3}), data.parent / "work"
    train_experiment(
        "exp",
        params,
        data,
        work=work,
        processes=2,
        progress=lambda what, epoch: told.add((what, epoch.number)),
    )
    assert bytes_of(data / "models/exp") == one_by_one
    assert told == {(f"exp, seed {seed}", epoch) for seed in range(3) for epoch in (1, 2, 3)}


def test_a_failure_in_a_helper_process_is_raised_unchanged(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_next", lambda *_: None)  # all is left to the helper
    hopeless = {"seeds": 1, "epochs": 400, "lr": 1e38, "clip": None, "standardize": False}
    with pytest.raises(WorkError, match="training loss is"):
        train_experiment("exp", toy_params(training=hopeless), data, work=data.parent / "work", processes=2)
    assert not multiprocessing.active_children()


def test_a_helper_leaves_an_interrupt_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(parallel, "_next", lambda *_: seen.append(signal.getsignal(signal.SIGINT)))
    told: queue.Queue[tuple[str, Any]] = queue.Queue()
    try:
        parallel._help(cast(parallel.SeedJob, None), None, told)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_IGN] and told.empty()


def test_test_is_read_after_every_epoch_is_chosen(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    subset = Source.subset
    monkeypatch.setattr(Source, "subset", lambda source, name: order.append(name) or subset(source, name))
    params = toy_params()
    train_experiment(
        "exp", params, data, work=data.parent / "w", progress=lambda what, *_: order.append(what)
    )
    assert order.index("test") > max(i for i, what in enumerate(order) if what.startswith("exp, seed"))


def test_test_labels_change_neither_weights_nor_epochs(data: Path) -> None:
    train(data)
    weights = bytes_of(data / "models/exp/seed0")["model.safetensors"]
    epochs = run_of(data)["epochs"]
    manifest = toy_manifest()
    rows = [replace(u, labels={"emotion7": "joy"}) if u.part == "test" else u for u in manifest.utterances]
    write_manifest(replace(manifest, utterances=tuple(rows)), data / "manifests/toy.jsonl")
    train(data)
    after = bytes_of(data / "models/exp/seed0")["model.safetensors"]
    header = 8 + int.from_bytes(weights[:8], "little")
    assert after[header:] == weights[header:] and run_of(data)["epochs"] == epochs


def test_a_failed_training_leaves_the_old_run_alone(data: Path) -> None:
    train(data)
    before = bytes_of(data / "models/exp")
    (data / "caches/toy/text/words.dev.h5").unlink()
    with pytest.raises(UsageError, match="no such cache file"):
        train(data)
    assert bytes_of(data / "models/exp") == before


def test_random_weights_mark_the_run(data: Path) -> None:
    manifest = toy_manifest()
    write_feature(data, manifest, "words", toy_vectors(manifest, "words"), weights={"random": True})
    train_experiment("exp", toy_params(), data, work=data.parent / "work", allow_random_weights=True)
    run = run_of(data)
    assert run["marks"] == ["random weights"] and run["provenance"]["random_weights"]
    assert evaluate(data / "models/exp", data)["marks"] == ["random weights"]


def test_a_leak_marks_the_run_and_its_evaluations(data: Path) -> None:
    manifest = toy_manifest()
    vectors = toy_vectors(manifest, "words")
    write_feature(data, manifest, "words", vectors, weights={"seen": {"toy": ["test"]}})
    with pytest.raises(UsageError, match="--allow-leak"):
        train(data)
    train_experiment("exp", toy_params(), data, work=data.parent / "work", allow_leak=True)
    run = run_of(data)
    assert run["provenance"]["leak"] is True and run["marks"][0].startswith("leak: ")
    assert evaluate(data / "models/exp", data)["marks"] == run["marks"]


def test_a_run_lists_in_which_points_it_deviates_from_its_paper(data: Path) -> None:
    entry = {"model": "m2fnet", "config": {"project": 8, "ffn": 8, "head_hidden": 8, "fusion_m": 1}}
    train(data, **entry, training={"seeds": 1, "epochs": 2})
    found = run_of(data)["deviations"]
    assert found == evaluate(data / "models/exp", data)["deviations"]
    assert found[0] == "corpus toy, the paper uses meld and iemocap"
    assert "audio feature sound: encoder toy/sound, the paper uses audio/mel-resnet18" in found
    assert "config project 8, the paper uses none" in found
    assert "training epochs 2, the paper uses 100" in found
    train(data, training={"seeds": 1, "epochs": 1})  # concat, which has no paper
    assert run_of(data)["deviations"] is None


def test_a_recipe_is_the_whole_training_but_the_seeds_and_single_params_can_change_it() -> None:
    recipe = MODELS["m2fnet"].recipe("paper_iemocap")
    base = toy_params(model="m2fnet", training="paper_iemocap")
    params = base.model_copy(update={"training": base.training.model_copy(update={"seeds": 3, "lr": 0.5})})
    training = experiment_of("exp", params).training
    assert training == recipe.model_copy(update={"seeds": 3}) and training.batch == 16
    changed = toy_params(model="m2fnet", training={"recipe": "paper", "epochs": 3, "seeds": 1})
    training = experiment_of("exp", changed).training
    assert (training.epochs, training.seeds, training.weight_decay) == (3, 1, 5e-4)
    assert changed.experiments["exp"].model_dump()["training"]["recipe"] == "paper"
    with pytest.raises(UsageError, match="unknown training recipe 'papr'") as told:
        experiment_of("exp", toy_params(model="m2fnet", training="papr"))
    assert "did you mean 'paper'?" in told.value.hint
    with pytest.raises(UsageError, match="model concat: unknown training recipe 'paper'"):
        experiment_of("exp", toy_params(training="paper"))


def test_provenance_names_the_class_of_the_device() -> None:
    assert [device_class(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda"]


def test_without_standardising_there_are_no_statistics(data: Path) -> None:
    train(data, training={"seeds": 1, "epochs": 2, "standardize": False})
    assert not (data / "models/exp/seed0/statistics.safetensors").exists()
    assert evaluate(data / "models/exp", data)["test"] == run_of(data)["test"]


def test_evaluate_says_what_is_wrong_with_a_run(data: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        evaluate(data / "models/exp", data)
    train(data)
    folder = data / "models/exp"
    with pytest.raises(UsageError, match="unknown subset 'tst'"):
        evaluate(folder, data, "tst")
    manifest = toy_manifest()
    write_feature(data, manifest, "words", {i: 2 * v for i, v in toy_vectors(manifest, "words").items()})
    assert evaluate(folder, data)["marks"] == ["toy/text/words.test.h5 has changed since the training"]
    (folder / "seed0/statistics.safetensors").unlink()
    with pytest.raises(UsageError, match="the feature statistics are missing"):
        evaluate(folder, data)
    (folder / "seed0/model.safetensors").write_bytes(b"no weights")
    shutil.copy(folder / "seed1/statistics.safetensors", folder / "seed0")
    with pytest.raises(UsageError, match=r"model\.safetensors: cannot be read"):
        evaluate(folder, data)
    (folder / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        evaluate(folder, data)


def test_the_store_variable_says_where_unfinished_trainings_lie(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(data.parent / "store"))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_PAUSE", 0)
    with pytest.raises(KeyboardInterrupt):
        train_experiment("exp", toy_params(training={"seeds": 1, "epochs": 3}), data, progress=kill)
    assert (data.parent / "store" / "runs").is_dir()
