"""Multi-label tasks (MOSEI): labels, masks, loss and scores by hand, and a whole training."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from torch import tensor

from ercache import metrics
from ercache.errors import UsageError
from ercache.manifest import Manifest, Utterance, write_manifest
from ercache.params.schema import TrainingParams
from ercache.training.losses import IGNORED
from fusion.data.batches import PaddedBatches
from fusion.data.labels import label_space
from fusion.evaluation.evaluate import evaluate
from fusion.evaluation.significance import compare
from fusion.experiment.source import read_source
from fusion.layers.label_losses import balanced_presence, loss_of, masked_binary_cross_entropy
from fusion.models import MODELS
from fusion.runs.predict import score_subset
from fusion.runs.predictions import Predictions, names_of
from fusion.training.run import train_experiment
from tests.support.toy_corpus import CLASSES, FEATURES, toy_manifest, toy_params, write_toy

PRESENCE = ("absent", "present")
EMOTIONS = ("joy", "anger")


def several(manifest: Manifest) -> Manifest:
    """Joy and anger, each present or absent; anger is unknown for the second utterance of every dialogue."""

    def labels(u: Utterance) -> dict[str, str | None]:
        one = u.labels["emotion7"]
        if one is None:
            return {"e_joy": None, "e_anger": None, **u.labels}
        held = {f"e_{name}": PRESENCE[one == name] for name in EMOTIONS}
        return {**held, **({"e_anger": None} if u.index == 1 else {}), **u.labels}

    sets = {"emotion7": CLASSES, "e_joy": PRESENCE, "e_anger": PRESENCE}
    rows = tuple(replace(u, labels=labels(u)) for u in manifest.utterances)
    return replace(manifest, label_sets=sets, utterances=rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path / "data")
    write_manifest(several(toy_manifest()), tmp_path / "data/manifests/toy.jsonl")
    return tmp_path / "data"


def train(data: Path, **entry: Any) -> dict[str, Any]:
    return train_experiment("exp", toy_params(**{"label_set": "e", **entry}), data, work=data.parent / "work")


def test_a_family_of_sets_that_say_absent_or_present_is_one_multi_label_set() -> None:
    space = label_space(several(toy_manifest()), "e")
    assert space is not None and space.multi and space.classes == EMOTIONS
    one = label_space(several(toy_manifest()), "e_joy")
    assert one is not None and not one.multi and one.classes == PRESENCE
    assert label_space(several(toy_manifest()), "emotion") is None
    u = toy_manifest().utterances[0]
    assert space.label_of(replace(u, labels={"e_joy": "present", "e_anger": "absent"})) == [1, 0]
    assert space.label_of(replace(u, labels={"e_joy": "present", "e_anger": None})) == [1, IGNORED]
    assert space.label_of(replace(u, labels={})) == [IGNORED, IGNORED] == space.no_label


def test_binary_cross_entropy_by_hand() -> None:
    # p = 0.8 and true: -ln 0.8; p = 0.25 and not true: -ln 0.75; the third is unknown.
    logits = tensor([[math.log(4.0), -math.log(3.0), 7.0]])
    labels = tensor([[1, 0, IGNORED]])
    loss, count = masked_binary_cross_entropy(logits, labels)
    assert count == 2 and float(loss) == pytest.approx((0.2231436 + 0.2876821) / 2, abs=1e-6)
    focal, _ = masked_binary_cross_entropy(logits, labels, gamma=2.0)
    assert float(focal) == pytest.approx((0.04 * 0.2231436 + 0.0625 * 0.2876821) / 2, abs=1e-6)
    weighted, _ = masked_binary_cross_entropy(logits, labels, weights=tensor([3.0, 9.0, 1.0]))
    assert float(weighted) == pytest.approx((3 * 0.2231436 + 0.2876821) / 2, abs=1e-6)


def test_rare_emotions_get_greater_weights() -> None:
    labels = tensor([[1, 0, 0], [0, 0, IGNORED], [0, 0, 1], [0, 0, IGNORED]])
    assert balanced_presence(labels).tolist() == [3.0, 1.0, 1.0]
    training = TrainingParams(class_weights="balanced")
    logits = torch.zeros(1, 4, 3)
    plain, balanced = (loss_of(t, labels, 3)(logits, labels[None])[0] for t in (TrainingParams(), training))
    assert float(plain) == pytest.approx(math.log(2)) and float(balanced) == pytest.approx(1.2 * math.log(2))


def predictions(truth: Any, chance: Any, dialogues: list[str] | None = None) -> Predictions:
    names = dialogues or [f"d{n}" for n in range(len(truth))]
    rows = tuple(Utterance(f"u{n}", d, 0, "A", "", None, None, {}, "test") for n, d in enumerate(names))
    return Predictions(0, "test", rows, np.array(chance, np.float32), np.array(truth, np.int64))


def test_scores_of_several_emotions_by_hand() -> None:
    # joy: TP 1, FN 1, TN 1, FP 1 -> weighted accuracy (1/2 + 1/2) / 2; anger: TP 1, TN 2 of 2, FN 0, one unknown -> 1.
    truth = [[1, 1], [1, 0], [0, 0], [0, IGNORED]]
    chance = [[0.9, 0.8], [0.2, 0.1], [0.7, 0.3], [0.4, 0.9]]
    found = score_subset([predictions(truth, chance)], EMOTIONS)
    assert found.confusion == [[[1, 1], [1, 1]], [[2, 0], [0, 1]]]
    assert found.scores["uar"].mean == pytest.approx(0.75)
    assert found.scores["accuracy"].mean == pytest.approx((2 / 4 + 3 / 3) / 2)
    assert found.scores["weighted_f1"].mean == pytest.approx((0.5 + 1) / 2)
    joy, anger = found.per_class["joy"], found.per_class["anger"]
    assert joy.weighted_accuracy == pytest.approx(0.5) and joy.support == 2
    assert joy.f1 == pytest.approx(0.5) and joy.weighted_f1 == pytest.approx(0.5)
    assert anger.weighted_accuracy == 1 and anger.support == 1


def test_the_mean_over_emotions_keeps_seeds_and_dialogues_apart() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (3, 5, 4, 2, 2))
    whole = metrics.summary(counts)["weighted_f1"]
    by_hand = metrics.scores_of_confusions(counts.sum(1))["weighted_f1"].mean(1)
    assert whole["mean"] == pytest.approx(by_hand.mean()) and whole["std"] == pytest.approx(
        by_hand.std(ddof=1)
    )
    assert whole["ci95"][0] < whole["mean"] < whole["ci95"][1]


def test_labels_as_words() -> None:
    labels = np.array([[1, 1], [0, 1], [0, 0], [1, IGNORED], [IGNORED, IGNORED]])
    assert names_of(labels, EMOTIONS) == ["joy+anger", "anger", "none", "joy", None]


def test_batches_hold_a_label_for_every_emotion_and_mask_what_is_unknown(data: Path) -> None:
    source = read_source(data, toy_params(label_set="e").experiments["exp"])
    train_part = source.subset("train")
    assert train_part.labels.shape == (len(train_part.utterances), 2)
    for rows, has_target, batch in PaddedBatches(train_part).by_length():
        assert torch.equal(batch.labels[has_target], train_part.labels[rows[has_target]])
        assert (batch.labels[~batch.mask] == IGNORED).all()
    second = tensor([u.index == 1 for u in train_part.utterances])
    assert (train_part.labels[second][:, 1] == IGNORED).all() and (train_part.labels[second][:, 0] >= 0).all()


@pytest.mark.parametrize(
    "model", [key for key, entry in MODELS.items() if "erc" in entry.tasks and not entry.roles]
)
def test_every_model_predicts_several_emotions(data: Path, model: str) -> None:
    features = {m: names for m, names in FEATURES.items() if m in MODELS[model].modalities}
    answer = train(data, model=model, features=features, training={"seeds": 1, "epochs": 2})
    run = json.loads((data / "models/exp/run.json").read_text())
    assert run["several"] and run["classes"] == list(EMOTIONS) and np.shape(run["confusion"]) == (2, 2, 2)
    assert 0 <= answer["test"]["weighted_f1"]["mean"] <= 1
    assert evaluate(data / "models/exp", data)["test"] == run["test"]


def test_a_training_stores_labels_and_predictions_of_every_emotion(data: Path) -> None:
    answer = train(
        data, training={"seeds": 2, "epochs": 40, "lr": 0.02, "batch": 4, "class_weights": "balanced"}
    )
    assert answer["test"]["uar"]["mean"] > 0.8
    rows = parquet.read_table(data / "models/exp/predictions.parquet").to_pylist()
    known = {u.id: u.labels for u in several(toy_manifest()).utterances}
    for row in rows:
        for name in EMOTIONS:
            value = known[row["id"]][f"e_{name}"]
            assert row[f"label_{name}"] == (None if value is None else PRESENCE.index(value))
            assert (name in row["predicted"].split("+")) == (row[f"p_{name}"] > 0.5)
    assert any(row["label"] is None for row in rows)
    pairs = (data / "models/exp/confusion.csv").read_text().splitlines()[1:]
    assert len(pairs) == np.sum(json.loads((data / "models/exp/run.json").read_text())["confusion"])
    assert set(",".join(pairs).split(",")) <= {"joy", "anger", "no joy", "no anger"}


def test_runs_of_several_emotions_can_be_compared(data: Path) -> None:
    train(data, training={"seeds": 2, "epochs": 30, "lr": 0.02, "batch": 4})
    shutil.copytree(data / "models/exp", data / "models/good")
    train(data, model="majority", training={"seeds": 2, "epochs": 2})
    (row,) = compare([data / "models/good", data / "models/exp"])
    assert row["difference"] > 0 and row["only_a_right"] > row["only_b_right"]
    train(data, label_set="emotion7", training={"seeds": 2, "epochs": 2})
    with pytest.raises(UsageError, match="not tested on the same utterances"):
        compare([data / "models/good", data / "models/exp"])


def test_an_emotion_without_an_example_in_train_is_marked(data: Path) -> None:
    manifest = several(toy_manifest())
    rows = [
        replace(u, labels={**u.labels, "e_joy": "absent"}) if u.part == "train" else u
        for u in manifest.utterances
    ]
    write_manifest(replace(manifest, utterances=tuple(rows)), data / "manifests/toy.jsonl")
    for weights in ("none", "balanced"):
        answer = train(data, training={"seeds": 1, "epochs": 2, "class_weights": weights})
        assert answer["marks"] == ["class joy has no example in train"]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_certain_predictions_have_a_loss_and_gradients(gamma: float) -> None:
    logits = tensor([[200.0, -200.0, 200.0, -200.0]], requires_grad=True)
    loss, _ = masked_binary_cross_entropy(logits, tensor([[1, 0, 0, 1]]), gamma)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(100.0)
    assert logits.grad is not None and logits.grad.isfinite().all()
