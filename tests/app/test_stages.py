"""The stages of the pipeline: folds with extractors of their own, several profiles, papers, checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.console import params
from app.pipeline import pipeline_text
from ercache.errors import ParamsError
from ercache.manifest import Manifest, Utterance, write_manifest
from ercache.weights import FOLDER_VARIABLE

ENGINE = {
    "shard": 16,
    "text_shard": 256,
    "batch": 16,
    "precision": "float32",
    "threads": 1,
    "memory": 128,
    "limits": {},
}
OWN: dict[str, Any] = {
    "corpora": {"iemocap": {}},
    "engine": ENGINE,
    "faces": {},
    "training": {"seeds": 1},
    "features": {
        "words": {"encoder": "text/minilm"},
        "voice": {"encoder": "audio/mel-resnet18", "pretrained": "voice"},
    },
    "pretrain": {"voice": {"extractor": "audio/mel-resnet18", "corpus": "iemocap", "split": "session5"}},
    "profiles": {"texts": ["words"], "sounds": ["voice", "words"]},
    "pipeline": {"iemocap": ["texts", "sounds"]},
    "experiments": {
        "across": {
            "model": "concat",
            "corpus": "iemocap",
            "label_set": "six",
            "folds": "loso",
            "features": {"text": ["words"], "audio": ["voice"]},
        }
    },
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    return tmp_path


def stages(project: Path, **changes: Any) -> dict[str, Any]:
    (project / "params.yaml").write_text(yaml.safe_dump({**OWN, **changes}), encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(pipeline_text(params()))["stages"]
    return found


def scanned(project: Path) -> None:
    said = [
        Utterance(f"u{n}", f"d{n}", 0, "A", "Oh!", None, None, {"six": "hap"}, f"Ses0{n}") for n in (1, 2, 3)
    ]
    ids = [u.id for u in said]
    folds = {
        f"loso/Ses0{n}": {"train": (ids[n % 3],), "dev": (ids[(n + 1) % 3],), "test": (ids[n - 1],)}
        for n in (1, 2)
    }
    manifest = Manifest("iemocap", "1", {}, {"six": ("hap", "sad")}, tuple(said), (), folds)
    write_manifest(manifest, project / "data/manifests/iemocap.jsonl")


def test_folds_whose_extractor_is_trained_anew_are_stages(project: Path) -> None:
    scanned(project)
    found = stages(project)
    for fold in ("Ses01", "Ses02"):
        made = found[f"pretrain-voice-loso-{fold}"]
        assert made["cmd"] == f"ercache pretrain voice --split loso/{fold}"
        assert made["outs"] == [f"data/extractors/voice@loso/{fold}"]
    extract = found["extract-iemocap-audio"]
    assert extract["cmd"].endswith("--features voice,voice@loso/Ses01,voice@loso/Ses02")
    assert {"data/extractors/voice", "data/extractors/voice@loso/Ses01"} <= set(extract["deps"])
    caches = [dep for dep in found["train-across"]["deps"] if "audio" in dep]
    assert caches and all("voice@loso" in dep for dep in caches), (
        "a fold reads features of its own extractor alone"
    )


def test_folds_are_unknown_before_the_scan(project: Path) -> None:
    with pytest.raises(ParamsError, match="must read the folds 'loso' from it") as caught:
        stages(project)
    assert "ercache scan iemocap" in caught.value.hint


def test_profiles_of_one_corpus_share_one_stage_of_each_modality(project: Path) -> None:
    found = stages(project, experiments={})
    assert found["extract-iemocap-text"]["cmd"] == "ercache extract iemocap --features words"
    assert [name for name in found if name.startswith("extract")] == [
        "extract-iemocap-text",
        "extract-iemocap-audio",
    ]


def test_a_modality_that_is_left_out_has_no_stage_and_no_experiment(project: Path) -> None:
    entry = {"iemocap": {"profiles": ["texts", "sounds"], "modalities": ["text"]}}
    assert list(stages(project, pipeline=entry)) == ["manifest-iemocap", "extract-iemocap-text", "report"]


def test_a_training_depends_on_the_checkpoint_that_it_starts_from(project: Path) -> None:
    found = stages(project, experiments={})
    assert {"extract/checkpoints.yaml": ["resnet18"]} in found["pretrain-voice"]["params"]
    scratch = {"voice": {**OWN["pretrain"]["voice"], "config": {"init": "scratch"}}}
    found = stages(project, experiments={}, pretrain=scratch)
    assert not any(
        isinstance(p, dict) and "extract/checkpoints.yaml" in p for p in found["pretrain-voice"]["params"]
    )


@pytest.mark.parametrize("entry", [["texts", "nope"], "nope", {"profiles": ["nope"]}])
def test_an_unknown_profile_is_told(project: Path, entry: Any) -> None:
    with pytest.raises(ParamsError) as caught:
        stages(project, experiments={}, pipeline={"iemocap": entry})
    assert any("pipeline.iemocap: unknown profile 'nope'" in line for line in caught.value.details)


def test_a_training_depends_on_the_checkpoints_that_its_model_loads(project: Path) -> None:
    faces = {"encoder": "visual/face-crops"}
    seen = {"model": "avtca", "corpus": "iemocap", "preset": "paper", "label_set": "six", "split": "session5"}
    both = {"audio": ["mel"], "visual": ["faces:crops"]}
    found = stages(
        project,
        features={"faces": faces, "mel": {"encoder": "audio/mfcc"}},
        pretrain={},
        profiles={"seen": ["faces", "mel"]},
        pipeline={"iemocap": "seen"},
        experiments={"both": {**seen, "features": both}, "sound": {**seen, "features": {"audio": ["mel"]}}},
    )
    digests = {"extract/checkpoints.yaml": ["efficientface"]}
    assert digests in found["train-both"]["params"] and digests not in found["train-sound"]["params"]
