"""DVC runs what changed and nothing else, and carries caches to people without media."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT, MakeProject, Project

pytestmark = pytest.mark.e2e

EXPERIMENTS = ("m2fnet_text", "concat")


@pytest.fixture(scope="module")
def repo(make_small: MakeProject, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A Git and DVC repository whose pipeline of three experiments and an extractor has been run and pushed."""
    project = make_small()
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["experiments"] = {name: params["experiments"][name] for name in EXPERIMENTS}
    params["experiments"]["own"] = {
        "model": "concat",
        "corpus": "demo",
        "features": {"audio": ["mel_resnet18"]},
    }
    params["profiles"]["default"] += ["mel_resnet18"]
    params["pretrain"]["mel_resnet18"] |= {
        "config": {"size": "tiny", "init": "scratch", "images": 2}, "training": {"epochs": 1}
    }  # fmt: skip
    params["training"] |= {"seeds": 1, "epochs": 1}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    (project.folder / ".gitignore").write_text("/store\n/data/raw\n/data/logs\n")
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.name", "test"],
        ["git", "config", "user.email", "test@example.org"],
        ["dvc", "init", "-q"],
    ):
        project.run(*command)
    shutil.copy(ROOT / ".dvc" / "config", project.folder / ".dvc" / "config")
    shutil.copytree(ROOT / ".dvc" / "plots", project.folder / ".dvc" / "plots")
    remote = tmp_path_factory.mktemp("remote")
    project.run("dvc", "remote", "add", "-q", "-d", "here", str(remote))
    project.here.ercache("pipeline")
    project.run("dvc", "repro", "-q")
    commit(project, "first")
    project.run("dvc", "push", "-q")
    return project


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", message)


def repro(project: Project) -> set[str]:
    """Names of the stages that ran."""
    lines = project.run("dvc", "repro").stdout.splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def concerned(project: Project) -> set[str]:
    """Names of the stages of whose dependencies one has changed."""
    return set(json.loads(project.run("dvc", "status", "--json").stdout))


def change(project: Project, *place: str, value: object) -> None:
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    inner = params
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def test_dvc_reruns_what_depends_on_a_change_and_nothing_else(repo: Project) -> None:
    assert repro(repo) == set(), "a second repro runs nothing"
    before = repo.caches()

    change(repo, "experiments", "m2fnet_text", "config", value={"dropout": 0.1})
    assert concerned(repo) == {"train-m2fnet_text"}
    change(repo, "features", "mfcc", "n_mfcc", value=13)
    assert concerned(repo) == {"train-m2fnet_text", "extract-demo-audio"}
    assert repro(repo) == {"train-m2fnet_text", "extract-demo-audio", "train-concat", "report"}
    after = repo.caches()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"demo/audio/mfcc.{part}.h5" for part in ("train", "dev", "test")}

    change(repo, "pretrain", "mel_resnet18", "training", value={"epochs": 1, "seed": 1})
    assert repro(repo) == {"pretrain-mel_resnet18", "extract-demo-audio", "train-own", "report"}
    again = repo.caches()
    changed = {name for name in after if after[name] != again[name]}
    assert changed == {f"demo/audio/mel_resnet18.{part}.h5" for part in ("train", "dev", "test")}

    change(repo, "engine", "lanes", value=2)
    assert concerned(repo) == set(), "the number of lanes changes no feature"
    repo.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    repo.run("dvc", "checkout", "-q")
    assert repo.caches() == before


def test_a_bare_extract_does_the_work_of_the_stage(repo: Project) -> None:
    shutil.rmtree(repo.folder / "data" / "caches")
    repo.here.ercache("extract", "demo")
    assert concerned(repo) == set()


def test_metrics_plots_and_experiments_work(repo: Project) -> None:
    shown = json.loads(repo.run("dvc", "metrics", "show", "--json").stdout)
    files = shown[""]["data"]
    assert all(
        0 <= files[f"data/models/{n}/metrics.json"]["data"]["test_weighted_f1"] <= 1 for n in EXPERIMENTS
    )
    repo.run("dvc", "exp", "run", "-q", "-S", "experiments.concat.training.lr=0.01", "train-concat")
    page = repo.run("dvc", "plots", "diff", "HEAD").stdout
    assert "index.html" in page


def test_a_clone_without_media_pulls_the_caches_and_trains(repo: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "clone", tmp_path / "store")
    Project(tmp_path, tmp_path).run("git", "clone", "-q", str(repo.folder), "clone")
    assert not (clone.folder / "data" / "raw").exists()
    (clone.folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {tmp_path / 'cache'}\n")
    change(clone, "training", "epochs", value=2)
    clone.run("dvc", "repro", "-q", "--pull", "--allow-missing", "train-m2fnet_text")
    run = json.loads((clone.folder / "data/models/m2fnet_text/run.json").read_text())
    assert run["training"]["epochs"] == 2
    assert not (clone.folder / "data/caches/demo/visual").exists(), "only what the experiment needs is pulled"
    clone.run("dvc", "pull", "-q", "data/caches/demo/visual")
    clone.here.ercache("cache", "verify", "data/caches")


def test_the_committed_pipeline_is_fresh() -> None:
    Project(ROOT, ROOT, inside=True).ercache("pipeline", "--check")
