"""The baseline `copy_last`: what it copies, and its published scores on the real labels of MELD."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.errors import UsageError
from ercache.manifest import write_manifest
from ercache.training.losses import IGNORED
from extract.corpora import CORPORA
from fusion.data.batches import Batch
from fusion.experiment.resolve import experiment_of
from fusion.models import MODELS
from fusion.training.run import train_experiment
from tests.e2e.conftest import SHARED
from tests.support.toy_corpus import toy_params


def batch_of(heard: list[list[int]]) -> Batch:
    labels = torch.tensor(heard)
    mask = torch.ones(labels.shape, dtype=torch.bool)
    features, present = {"text": torch.zeros(*labels.shape, 2)}, {"text": mask}
    return Batch(features, present, mask, torch.zeros_like(labels), labels, labels)


def test_it_predicts_the_last_known_label_of_any_speaker() -> None:
    entry = MODELS["copy_last"]
    model = entry.build({"text": 2}, 3, entry.resolve("small", {}))
    with torch.no_grad():
        model.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
        said = model(batch_of([[2, 0, IGNORED, 1], [IGNORED, IGNORED, 2, IGNORED]])).argmax(-1)
    assert said.tolist() == [[2, 0, 0, 1], [1, 1, 2, 2]]  # before any label, the most frequent class


def test_it_does_not_do_recognition() -> None:
    with pytest.raises(UsageError, match="cannot be used") as told:
        experiment_of("exp", toy_params(model="copy_last"))
    assert told.value.details == ("model copy_last does not do the task 'erc'",)


def test_its_scores_on_meld_are_the_published_ones(tmp_path: Path) -> None:
    root = SHARED / "meld"
    if not root.is_dir():
        pytest.skip("needs ../shared/meld (the real MELD transcripts)")
    corpus = CORPORA["meld"]
    manifest = corpus.scan(root, corpus.Switches())
    write_manifest(manifest, tmp_path / "manifests/meld.jsonl")
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {"pooled": np.ones((1, 1), np.float32)} for i in ids}
        entries = [Entry(i, Status.OK, "", 1, "", content_digest(arrays[i])) for i in ids]
        made = {"corpus": "meld", "part": part, "feature": "one", "encoder": "toy/one", "context": {}}
        spec = ArraySpec("pooled", "vector", ("utterance", "dim"), (1,))
        write_cache(tmp_path / f"caches/meld/text/one.{part}.h5", [spec], entries, arrays, made)
    params = toy_params(
        model="copy_last",
        corpus="meld",
        task="epc",
        features={"text": ["one"]},
        training={"seeds": 1, "epochs": 1, "batch": 256},
    )
    test = train_experiment("exp", params, tmp_path, work=tmp_path / "work")["test"]
    percent = {name: round(100 * score["mean"], 2) for name, score in test.items()}
    assert percent == {"accuracy": 41.93, "uar": 27.29, "macro_f1": 27.34, "weighted_f1": 41.87}
