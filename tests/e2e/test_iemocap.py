"""IEMOCAP from a release folder to a trained model through the command line, on a miniature of the corpus."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeProject, Project
from tests.support.iemocap_tree import DIALOGUES, make_media, write_annotation, write_release

pytestmark = pytest.mark.e2e

EXPERIMENT = {
    "model": "concat",
    "corpus": "iemocap",
    "label_set": "six",
    "split": "session5",
    "features": {"audio": ["mfcc"], "visual": ["face_hog"]},
    "config": {"hidden": 8},
    "training": {"epochs": 2},
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iemocap")
    return write_release(folder / "IEMOCAP_full_release", make_media(folder / "media"))


@pytest.fixture(scope="module")
def extracted(make_project: MakeProject, release: Path) -> Project:
    project = make_project().here
    with project.params() as params:
        params["experiments"]["iemocap_toy"] = EXPERIMENT
    project.ercache("scan", "iemocap", "--root", str(release.parent))
    project.ercache("extract", "iemocap", "--root", str(release.parent), "--features", "mfcc,face_hog")
    return project


def test_a_face_is_found_for_the_actor_in_the_left_half_alone(extracted: Project, release: Path) -> None:
    root = ("--root", str(release.parent))
    answer = extracted.json("extract", "iemocap", *root, "--features", "mfcc,face_hog")
    assert answer["done"] == 0 and len(answer["files"]) == 2 * 5
    failed = {(f["utterance"], f["feature"], f["reason"]) for f in answer["failed"]}
    right = {f"{d}_{line.name}" for d, lines in DIALOGUES.items() for line in lines if line.name[0] != d[5]}
    assert failed == {(name, "face_hog", "no_face") for name in right}
    assert extracted.json("cache", "verify", "data/caches") == {"checked": 10, "bad": []}


def test_scan_counts_by_session_and_tells_how_far_from_the_release(extracted: Project, release: Path) -> None:
    answer = extracted.json("scan", "iemocap", "--root", str(release), "--out", "again.jsonl")
    first = answer["splits"]["Ses01"]
    assert (first["dialogues"], first["utterances"]) == (2, 13)
    assert first["labels"]["four"] == {"ang": 2, "hap": 4, "neu": 2, "sad": 2}
    assert {p["reason"] for p in answer["problems"]} == {"count_differs", "fragments", "asides"}


def test_a_model_trains_on_sessions_1_to_4_and_is_tested_on_5(extracted: Project) -> None:
    answer = extracted.json("train", "iemocap_toy", "--seeds", "1")
    assert answer["selected_on"] == "validation"
    low, high = answer["test"]["weighted_f1"]["ci95"]
    assert 0 <= low <= high <= 1


def test_every_session_is_left_out_once_and_told_in_json_and_report(extracted: Project) -> None:
    answer = extracted.json("train", "iemocap_toy", "--folds", "loso", "--seeds", "1")
    assert list(answer["folds"]) == [f"loso/Ses0{n}" for n in range(1, 6)]
    run = json.loads((extracted.folder / "data/models/iemocap_toy/run.json").read_text())
    labelled = sum(line.label != "xxx" for lines in DIALOGUES.values() for line in lines)
    assert sum(map(sum, run["confusion"])) == labelled and len(run["epochs"]) == 5
    page = (extracted.folder / extracted.json("report")["path"]).read_text()
    assert all(f"test of fold loso/Ses0{n}" in page for n in range(1, 6))


def test_a_bad_annotation_is_an_error_with_every_finding(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project().here
    write_annotation(tmp_path / "r", DIALOGUES)
    for name in ("Ses01F_impro01", "Ses03M_script01_1"):
        path = tmp_path / "r" / f"Session{name[4]}" / "dialog" / "EmoEvaluation" / f"{name}.txt"
        path.write_text(path.read_text().replace("\tneu\t", "\tglee\t"))
    said = project.ercache("scan", "iemocap", "--root", str(tmp_path / "r"), code=2).stderr
    assert said.count("unknown label 'glee'") == 2 and "unpack these files again" in said
    assert not (project.folder / "data" / "manifests").exists()
