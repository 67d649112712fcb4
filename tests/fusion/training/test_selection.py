"""`training.select` names the validation metric that chooses the epoch; without it nothing changes."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ercache.errors import UsageError
from ercache.manifest import write_manifest
from fusion.experiment.resolve import experiment_of
from fusion.models import MODELS
from fusion.training.run import train_experiment
from tests.support.toy_corpus import toy_manifest, toy_params, write_toy

TRAINING = {"seeds": 2, "epochs": 8, "patience": 8, "batch": 4, "lr": 0.01}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The toy corpus, with a second label set of two values."""
    write_toy(tmp_path / "data")
    manifest = toy_manifest()
    utterances = tuple(
        replace(u, labels={**u.labels, "mood": u.labels["emotion7"] and ("bad" if n % 3 else "good")})
        for n, u in enumerate(manifest.utterances)
    )
    label_sets = {**manifest.label_sets, "mood": ("bad", "good")}
    write_manifest(
        replace(manifest, utterances=utterances, label_sets=label_sets), tmp_path / "data/manifests/toy.jsonl"
    )
    return tmp_path / "data"


def train(data: Path, select: str | None = None, **entry: Any) -> dict[str, Any]:
    training = TRAINING if select is None else {**TRAINING, "select": select}
    return train_experiment("exp", toy_params(training=training, **entry), data, work=data.parent / "work")


def curves(data: Path) -> list[dict[str, str]]:
    with (data / "models/exp/curves.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("metric", ["uar", "accuracy", "macro_f1"])
def test_the_kept_epoch_is_the_best_by_the_selected_metric(data: Path, metric: str) -> None:
    answer = train(data, metric)
    score = f"validation_{metric}"
    for seed, epoch in enumerate(answer["epochs"]):
        own = [float(row[score]) for row in curves(data) if row["seed"] == str(seed)]
        assert epoch == own.index(max(own)) + 1
    kept = json.loads((data / "models/exp/metrics.json").read_text())
    assert kept[score] == answer["validation"][metric]["mean"] and "validation_weighted_f1" in kept


def test_a_run_without_the_switch_says_nothing_of_it_and_has_the_columns_of_before(data: Path) -> None:
    answer = train(data)
    run = json.loads((data / "models/exp/run.json").read_text())
    assert "select" not in run["training"]
    names = (
        "seed",
        "epoch",
        "train_loss",
        "validation_loss",
        "validation_weighted_f1",
        "validation_accuracy",
    )
    assert tuple(curves(data)[0]) == names
    again = train(data, "weighted_f1")
    assert again["test"] == answer["test"] and again["epochs"] == answer["epochs"]


def test_binary_f1_selects_where_the_label_set_has_two_values(data: Path) -> None:
    answer = train(data, "binary_f1", label_set="mood")
    run = json.loads((data / "models/exp/run.json").read_text())
    assert run["test"]["binary_f1"]["mean"] == pytest.approx(run["per_class"]["good"]["f1"])
    own = [float(row["validation_binary_f1"]) for row in curves(data) if row["seed"] == "0"]
    assert answer["epochs"][0] == own.index(max(own)) + 1
    with pytest.raises(
        UsageError, match="binary_f1 needs a label set with 2 classes, this one has 3 classes"
    ):
        train(data, "binary_f1")
    assert "binary_f1" not in train(data)["test"]


def test_an_unknown_metric_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"training\.select names no metric") as told:
        experiment_of("exp", toy_params(training={"select": "uarr"}))
    assert told.value.hint == "did you mean 'uar'?"


def test_the_papers_select_by_the_metric_of_their_tables() -> None:
    selected = {
        (key, name): MODELS[key].recipe(name).select for key in MODELS for name in MODELS[key].recipes
    }
    assert selected["cues", "paper_epc"] == "uar" and selected["cues", "paper"] == "weighted_f1"
    assert selected["avtca", "paper"] == "accuracy"
    assert {selected[key, "paper"] for key in ("m2fnet", "avafn", "amuse")} == {"weighted_f1"}
