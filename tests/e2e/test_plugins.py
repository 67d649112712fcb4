"""Plug-ins: a package of its own brings an encoder, a corpus, a model and a metric, and nothing of ours is touched."""

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml

from ercache.cache import CacheFile
from tests.e2e.conftest import BIN, ROOT

PACKAGE = ROOT / "tests" / "support" / "toy_plugin"
PARAMS = {
    "features": {"loudness": {"encoder": "audio/toy-loudness"}},
    "corpora": {"tones": {}},
    "experiments": {
        "toy": {
            "model": "toy_linear",
            "preset": "base",
            "corpus": "tones",
            "label_set": "volume",
            "split": "official",
            "features": {"audio": ["loudness"]},
            "training": {"epochs": 3, "seeds": 2},
        }
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PACKAGE, folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(folder / "source")], check=True)
    return folder / "site"


# Three lists by one interpreter, which imports the networks' libraries once.
LISTS = """
import sys
from app.cli import main
for verb in ("encoders", "corpora", "models"):
    sys.argv = ["ercache", verb]
    try:
        main()
    except SystemExit as left:
        assert not left.code
"""


def ercache(folder: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return executed(folder, site, "ercache", *arguments)


def executed(folder: Path, site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ERCACHE_")},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "ERCACHE_STORE": str(folder / "store"),
        "COLUMNS": "160",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def write_tones(folder: Path) -> None:
    """Twelve dialogues of two utterances, one quiet and one loud."""
    folder.mkdir(parents=True)
    for number in range(12):
        part = ("train", "train", "dev", "test")[number % 4]
        for index, (label, level) in enumerate((("quiet", 1000), ("loud", 20000))):
            tone = level * np.sin(np.arange(4000) * (0.1 + number / 100))
            with wave.open(str(folder / f"{part}_d{number}_{index}_{label}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(tone.astype("<i2").tobytes())


def test_a_package_brings_an_encoder_a_corpus_a_model_and_a_metric(tmp_path: Path, site: Path) -> None:
    write_tones(tmp_path / "data" / "raw" / "tones")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
    for command in (
        ("scan", "tones", "--root", "data/raw/tones"),
        ("extract", "tones", "--root", "data/raw/tones", "--features", "loudness"),
        ("train", "toy"),
    ):
        done = ercache(tmp_path, site, *command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    run = json.loads((tmp_path / "data/models/toy/run.json").read_text())
    assert run["model"] == "toy_linear" and 0 < run["test"]["confidence"]["mean"] < 1
    assert len(run["test"]["confidence"]["ci95"]) == 2 and "weighted_f1" in run["test"]
    with CacheFile(tmp_path / "data/caches/tones/audio/loudness.train.h5") as cache:
        assert cache.provenance["made"][0]["versions"]["ercache-toy"] == "1.0"
    listed = executed(tmp_path, site, sys.executable, "-c", LISTS).stdout
    assert all(name in listed for name in ("audio/toy-loudness", "tones", "toy_linear"))


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path, site: Path) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "ercache_toy" / "model.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    done = ercache(tmp_path, broken, "models")
    assert done.returncode == 2
    assert "ercache-toy: ercache_toy.model cannot be imported" in done.stderr and "uninstall" in done.stderr
