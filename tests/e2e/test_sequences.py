"""Models on sequences from media to scores, through the command line."""

import json
import shutil

import pytest
import torch
import yaml
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ercache.manifest import read_manifest
from ercache.params.schema import TrainingParams
from ercache.training.losses import masked_cross_entropy
from ercache.training.optimizers import optimizer_of
from fusion.data.batches import PaddedBatches, make_subset, standardized, statistics_of
from fusion.data.cache_reader import read_sequences
from fusion.models import MODELS
from tests.e2e.conftest import ROOT, SHARED, MakeProject, Project

pytestmark = pytest.mark.e2e

CREMAD = SHARED / "media" / "cremad"
STEPS = 70


def test_avtca_is_trained_from_the_frames_of_sound_and_faces_in_the_caches(extracted: Project) -> None:
    project = extracted.here
    answer = project.json("train", "avtca", "--seeds", "1")
    run = json.loads((project.folder / "data/models/avtca/run.json").read_text())
    assert run["widths"] == {"audio": 20, "visual": 288} and answer["selected_on"] == "validation"
    assert (
        run["config"]["it_heads"] == 4
        and run["preset"] == "small"
        and run["deviations"][0].startswith("corpus demo")
    )
    again = project.json("evaluate", "data/models/avtca")
    assert again["test"] == run["test"]
    wrong = project.ercache("train", "--model", "avtca", "--corpus", "demo", "--features", "face_hog", code=2)
    assert "several arrays of kind sequence" in wrong.stderr and "frames (sequence)" in wrong.stderr
    rows = project.json("reproduce", "avtca", "8", "--row", "IT-1", "--corpus", "demo")
    assert [(r["row"], r["verdict"]) for r in rows] == [("IT-1", "stand-in")]
    said = project.ercache("reproduce", "avtca", "8", "--row", "IT-1", "--corpus", "demo").stderr
    assert "Accuracy and F1 contradict each other" in said
    shutil.rmtree(project.folder / "data/models/reproduce")
    shutil.rmtree(project.folder / "data/models/avtca")


def test_amuse_is_trained_from_tokens_frames_and_faces_in_the_caches(extracted: Project) -> None:
    project = extracted.here
    project.ercache("train", "amuse", "--seeds", "1")
    run = json.loads((project.folder / "data/models/amuse/run.json").read_text())
    assert run["widths"] == {"text": 384, "audio": 20, "face": 288} and run["deviations"][0].startswith(
        "corpus demo"
    )
    assert project.json("evaluate", "data/models/amuse")["test"] == run["test"]
    rows = project.json("reproduce", "amuse", "1", "--row", "Uni-mode rep., T", "--corpus", "demo")
    assert [(r["row"], r["verdict"]) for r in rows] == [("Uni-mode rep., T", "stand-in")]
    for made in ("reproduce", "amuse"):
        shutil.rmtree(project.folder / "data/models" / made)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_avtca_learns_six_real_clips_by_heart_from_their_face_crops(make_project: MakeProject) -> None:
    project = make_project()
    with project.params() as params:  # with fifteen pictures a clip a step takes some seconds
        own = yaml.safe_load((ROOT / "papers" / "avtca.yaml").read_text())["features"]
        params["features"] |= own | {"avtca_crops": own["avtca_crops"] | {"frames": 4}}
    project.ercache("extract", "cremad", "--root", str(CREMAD), "--features", "avtca_mfcc,avtca_crops")
    data = project.folder / "data"
    manifest = read_manifest(data / "manifests/cremad.jsonl")
    entry, ids = MODELS["avtca"], [u.id for u in manifest.utterances]
    named = {"audio": ["avtca_mfcc"], "visual": ["avtca_crops:crops"]}
    steps, findings = read_sequences(data / "caches", manifest, named, manifest.parts, entry.roles)
    assert findings.problems == [] and len(ids) == 6
    rows = {i: n for n, i in enumerate(ids)}
    subset = make_subset(manifest, "train", ids, "emotion6", rows, {}, sequences=steps)
    subset = standardized(subset, statistics_of(subset))
    torch.manual_seed(0)
    switches = {"backbone_weights": "none", "dropout": 0.0, "mask_padding": True, "augment": False}
    model = entry.build(subset.widths, 6, entry.resolve("tuned", switches))
    optimizer = optimizer_of(model, TrainingParams(optimizer="adam", lr=1e-3, weight_decay=1e-3))
    schedule = CosineAnnealingLR(optimizer, STEPS)
    batch = PaddedBatches(subset).batch(range(6))
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss, count = masked_cross_entropy(model(batch), batch.labels)
        assert count == 6
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(batch).argmax(-1), batch.labels)


@pytest.mark.parametrize("name, task", [("cues", "erc"), ("cues_epc", "epc")])
def test_cues_is_trained_for_both_tasks_from_tokens_and_frames_in_the_caches(
    extracted: Project, name: str, task: str
) -> None:
    project = extracted.here
    answer = project.json("train", name, "--seeds", "1")
    run = json.loads((project.folder / f"data/models/{name}/run.json").read_text())
    assert run["widths"] == {"text": 384, "audio": 20} and run["task"] == answer["task"] == task
    assert project.json("evaluate", f"data/models/{name}")["test"] == run["test"]
    shutil.rmtree(project.folder / "data/models" / name)
    if task == "epc":
        refused = project.ercache(
            "train", "--model", "cues", "--corpus", "demo", "--features", "minilm", code=2
        )
        assert "several arrays of kind sequence" in refused.stderr


@pytest.mark.full
def test_a_row_of_cues_is_reproduced_with_what_stands_in(extracted: Project) -> None:
    project = extracted.here
    rows = project.json("reproduce", "cues", "3", "--row", "w/o PE", "--corpus", "demo")
    assert [(r["row"], r["verdict"]) for r in rows] == [("w/o PE", "stand-in")]
    shutil.rmtree(project.folder / "data/models/reproduce")
    said = project.ercache("reproduce", "cues", "3", "--row", "w/o TMF", "--corpus", "demo")
    assert "no effect here: 3 w/o TMF: the same network as 'full'" in said.stderr
    assert not (project.folder / "data/models/reproduce").exists()
