"""Checkpoints from the command line to the result: random and leaking ones are refused, or marked everywhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ercache import weights
from ercache.cache import CacheFile
from ercache.manifest import Manifest, write_manifest
from ercache.weights import Checkpoint, WeightFile, extra_checkpoints
from extract.encoders import ENCODERS
from tests.support.checkpoints import tiny_checkpoint
from tests.support.command import Run, command_runner
from tests.support.toy_corpus import toy_manifest
from tests.support.toy_net import KEY, ToyNet

PARAMS = """
features: {net: {encoder: text/toy-net}, words: {encoder: text/toy-net}}
profiles: {default: [net]}
engine: {lanes: 1, threads: 1}
experiments:
  exp: {model: concat, corpus: meld, features: {text: [net]}, training: {seeds: 2, epochs: 2, batch: 4}}
"""


def manifest() -> Manifest:
    toy = toy_manifest()
    words = {"neutral": "oh well", "joy": "haha great", "anger": "get out now"}
    said = tuple(replace(u, text=words.get(str(u.labels["emotion7"]), "hm")) for u in toy.utterances)
    return replace(toy, corpus="meld", utterances=said)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Commands in a folder with a manifest of MELD's name and an encoder that has a checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setitem(ENCODERS.known, KEY, ToyNet)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    write_manifest(manifest(), Path("data/manifests/meld.jsonl"))
    return command_runner(monkeypatch, capfd)


def provenance_of(feature: str) -> Any:
    with CacheFile(Path(f"data/caches/meld/text/{feature}.train.h5")) as cache:
        return cache.provenance["weights"]


def test_random_weights_are_recorded_refused_and_marked_everywhere(run: Run) -> None:
    code, out, _ = run("extract", "meld", "--random-weights", "3", "--json")
    assert code == 0 and len(json.loads(out)["files"]) == 3  # and nothing else on stdout
    assert provenance_of("net") == {"id": "emoberta-base", "random": True, "seed": 3}
    code, out, err = run("train", "exp")
    assert code == 2 and out == "" and "--allow-random-weights" in err
    code, out, err = run("train", "exp", "--allow-random-weights")
    assert code == 0 and "warning: exp: random weights" in err
    assert json.loads(Path("data/models/exp/metrics.json").read_text())["marks"] == "random weights"
    assert "warning: data/models/exp: random weights" in run("evaluate", "data/models/exp")[2]
    _, out, _ = run("compare", "data/models/exp", "data/models/exp", "--json")
    assert json.loads(out)[0]["marks_a"] == ["random weights"]
    assert run("report")[0] == 0
    assert "random weights" in Path("data/reports/report.html").read_text(encoding="utf-8")


def test_a_checkpoint_that_has_seen_the_test_data_is_refused_and_marked_everywhere(
    run: Run, tmp_path: Path
) -> None:
    tensors = {"weight": torch.eye(4, 26), "bias": torch.zeros(4)}
    with tiny_checkpoint("emoberta-base", tmp_path, tensors):  # the row keeps what it has seen
        assert run("extract", "meld")[0] == 0
        assert provenance_of("net")["seen"]["meld"] == ["train", "dev", "test"]
        code, _, err = run("train", "exp")
        assert code == 2 and "has seen test of meld" in err and "--allow-leak" in err
        code, _, err = run("train", "exp", "--allow-leak")
    leak = "leak: the checkpoint of net has seen test of meld, which holds test data"
    assert code == 0 and f"warning: exp: {leak}" in err
    assert json.loads(Path("data/models/exp/metrics.json").read_text())["marks"] == leak
    assert json.loads(run("evaluate", "data/models/exp", "--json")[1])["marks"] == [leak]
    assert leak in run("compare", "data/models/exp", "data/models/exp")[2]
    assert run("report")[0] == 0 and leak in Path("data/reports/report.html").read_text(encoding="utf-8")


def test_an_absent_checkpoint_is_reported_before_any_work(run: Run) -> None:
    code, out, err = run("extract", "meld", "--features", "net,words")
    assert code == 2 and out == "" and "Traceback" not in err
    assert (
        "checkpoints of 2 features" in err
        and "ercache weights fetch emoberta-base" in err
        and "499 MB" in err
    )
    assert not Path("data/caches").exists()


def test_a_changed_checkpoint_or_one_of_another_network_stops_the_extraction(
    run: Run, tmp_path: Path
) -> None:
    with tiny_checkpoint(
        "emoberta-base", tmp_path, {"weight": torch.eye(4, 26), "bais": torch.zeros(4)}
    ) as folder:
        code, out, err = run("extract", "meld")
        assert code == 2 and out == "" and "missing: bias" in err and "unexpected: bais" in err
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        code, out, err = run("extract", "meld")
        assert code == 2 and "damaged or of another version" in err and "sha256 found" in err
    assert not Path("data/caches").exists()


def test_weights_ls_add_and_doctor(run: Run, tmp_path: Path) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "own.safetensors")
    row = Checkpoint("own", "brought", "a friend", "1", (WeightFile("own.safetensors"),), "MIT", megabytes=1)
    with extra_checkpoints(row):
        states = {r["key"]: r for r in json.loads(run("weights", "ls", "--json")[1])}
        assert states["own"]["state"] == "absent" and not states["own"]["ok"] and states["minilm"]["ok"]
        assert "ercache weights add own own.safetensors" in states["own"]["remedy"]
        code, out, _ = run("weights", "add", "own", str(tmp_path / "own.safetensors"), "--json")
        assert code == 0 and Path(json.loads(out)[0]["file"]).is_file()
        states = {r["key"]: r for r in json.loads(run("weights", "ls", "--json")[1])}
        assert states["own"]["state"] == "present" and len(states["own"]["sha256"]["own.safetensors"]) == 64
    code, out, _ = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (
        checks["optional weights"]["ok"] and checks["weights minilm"]["ok"] and "weights passt" not in checks
    )
    assert run("weights", "add", "nonsense", "x")[0] == 2
