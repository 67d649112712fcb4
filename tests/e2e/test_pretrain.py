"""Trainings of extractors through the command line: on train and dev alone, then features, then models."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from ercache.trained_extractors import TABLES
from tests.e2e.conftest import SHARED, MakeProject, Project

pytestmark = pytest.mark.e2e

MELD = SHARED / "meld"
MAJORITY = 0.2523  # weighted F1 on dev of always answering neutral: 470 of 1,109
MEL, DUAL = "mel_resnet18", "m2fnet_dual"


@pytest.fixture
def project(make_small: MakeProject) -> Project:
    """A project with tiny trainings, and with media of its own."""
    made = make_small().here
    path = made.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name in (MEL, DUAL):
        params["pretrain"][name]["config"] = {"size": "tiny", "init": "scratch", "images": 2}
        params["pretrain"][name]["training"] = {"epochs": 1}
    params["pretrain"][DUAL]["config"]["frames"] = 1
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    media = made.folder / "data/raw/demo"
    original = media.resolve()
    media.unlink()
    shutil.copytree(original, media)
    made.ercache("scan", "demo")
    return made


def tensors(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in ("model.safetensors", "last.safetensors")}


@pytest.mark.parametrize(
    ("name", "key"),
    [(MEL, "audio/mel-resnet18"), pytest.param(DUAL, "visual/m2fnet-dual", marks=pytest.mark.full)],
)
def test_an_extractor_learns_from_train_and_dev_and_test_media_change_nothing(
    project: Project, name: str, key: str
) -> None:
    answer = project.json("pretrain", key)
    assert answer["selected_on"] == "validation_knn_accuracy"
    quality = {"validation_probe_weighted_f1", "validation_silhouette", "validation_rank"}
    assert quality <= set(answer["metrics"])
    folder = project.folder / "data/extractors" / name
    seen = json.loads((folder / "seen.json").read_text())["demo"]
    assert seen and not [i for i in seen if i.startswith("test")]
    assert {"curves", "embedding.png", "metrics.json"} <= {p.name for p in folder.iterdir()}
    losses = (folder / TABLES / "train_loss.tsv").read_text().splitlines()
    assert losses[0] == "step\ttrain_loss" and [row.split("\t")[0] for row in losses[1:]] == [
        str(epoch) for epoch in range(1, answer["epochs"] + 1)
    ]
    assert not (project.folder / ".dvc").exists()  # dvclive makes none where there is no repository

    before = tensors(folder)
    media = project.folder / "data/raw/demo"
    for clip in (media / "output_repeated_splits_test").glob("*.mp4"):
        clip.write_bytes(b"poison")
    table = media / "test_sent_emo.csv"
    table.write_text(table.read_text().replace("neutral", "joy").replace("anger", "joy"))
    project.ercache("scan", "demo")
    shutil.rmtree(folder)
    project.ercache("pretrain", name)
    assert tensors(folder) == before


@pytest.mark.full
@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_the_text_extractor_learns_melds_emotions_and_goes_on_after_a_kill(make_project: MakeProject) -> None:
    project = make_project()
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["pretrain"]["m2fnet_roberta"] = {
        "extractor": "text/m2fnet-roberta",
        "corpus": "meld",
        "config": {"size": "small", "init": "scratch"},
        "training": {"epochs": 2, "batch": 32, "lr": 0.0005, "seed": 1},
    }
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    command = ("pretrain", "text/m2fnet-roberta", "--root", str(MELD))
    answer = project.json(*command)
    assert answer["examples"] == {"train": 9989, "dev": 1109}
    assert answer["metrics"]["validation_weighted_f1"] > MAJORITY + 0.05
    folder = project.folder / "data/extractors/m2fnet_roberta"
    curves = folder / TABLES / "train_loss.tsv"
    undisturbed = curves.read_text()
    shutil.rmtree(folder)

    process = subprocess.Popen(["ercache", *command], cwd=project.folder, env=project.environment)
    deadline = time.monotonic() + 500
    while not list(project.store.glob("pretrain/*/state.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not curves.exists()
    project.ercache(*command)
    assert curves.read_text() == undisturbed
