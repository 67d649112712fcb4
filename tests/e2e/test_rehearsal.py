"""The road from a corpus on disk to a table of a paper: `ercache init`, `dvc repro`, the rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import SHARED, Project
from tests.support.meld_tables import write_tables
from tests.support.miniatures import MINIATURES
from tests.support.paper_runs import shipped
from tests.support.rehearsal import identities, make_checkout, small_checkpoints

pytestmark = pytest.mark.e2e

RUNS = [(paper, corpus) for paper, runs in shipped().papers.items() for corpus in runs.corpora]
RAVDESS = SHARED / "media" / "ravdess"
ACTORS, HERE = 24, 8  # of the whole corpus; of those whose files are here


def road(project: Project, paper: str, corpus: str, root: Path) -> list[dict[str, Any]]:
    """Go the road to its end. Return the rows of the paper's tables."""
    plan = project.json("init", paper, corpus, "--root", str(root))
    lacking = [need["key"] for need in plan["weights"] if not need["present"]]
    for folder in (key for key in lacking if "/" in key):
        identities(project.folder / folder)
    with small_checkpoints(project.folder / "tiny", [key for key in lacking if "/" not in key]):
        project.ercache("pipeline")
        project.run("dvc", "repro", "-q")
        assert "up to date" in project.run("dvc", "status").stdout
        assert ran(project) == set()
    rows: list[dict[str, Any]] = json.loads(
        (project.folder / f"data/reports/tables/{paper}-{corpus}.json").read_text(encoding="utf-8")
    )
    return rows


def ran(project: Project) -> set[str]:
    """Run `dvc repro`, and return the names of the stages that ran."""
    lines = project.run("dvc", "repro").stdout.splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def told(row: dict[str, Any]) -> set[str]:
    """What a row says of its deviations, without those of a rehearsal: few epochs and checkpoints of a test."""
    rehearsed = ("epochs 1, ", "patience 1, ", "source made by a test", "man_epochs 1")
    return {line for line in row["deviations"] if not any(text in line for text in rehearsed)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ERCACHE_WEIGHTS", str(tmp_path / "none"))
    return make_checkout(tmp_path / "checkout")


def test_text_rows_of_m2fnet_from_melds_tables_alone(project: Project, tmp_path: Path) -> None:
    rows = road(project, "m2fnet", "meld", write_tables(tmp_path / "MELD", dialogues=6))
    ours = {row["row"]: row for row in rows if row["verdict"] != "another system"}
    assert ours["Only Text"]["verdict"] == "stand-in" and told(ours["Only Text"]) == set()
    assert "roberta-large, source made by a test" in " ".join(ours["Only Text"]["deviations"])
    others = [row for name, row in ours.items() if name != "Only Text"]
    assert {row["verdict"] for row in others} == {"not runnable"}
    assert all("ercache extract meld --features m2fnet_" in row["why"] for row in others)

    path = project.folder / "papers" / "m2fnet.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["corpora"]["meld"]["experiments"]["m2fnet_meld"]["config"] = {"dropout": 0.3}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    assert ran(project) == {"reproduce-m2fnet-meld", "report"}


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("paper", "corpus"), RUNS)
def test_every_row_of_a_paper_on_a_miniature(
    project: Project, demo_corpus: Path, tmp_path: Path, paper: str, corpus: str
) -> None:
    root = MINIATURES[corpus](demo_corpus, tmp_path / corpus)
    rows = [row for row in road(project, paper, corpus, root) if row["verdict"] != "another system"]
    assert rows and {row["verdict"] for row in rows} <= {"stand-in", "no effect here"}, [
        r["why"] for r in rows
    ]
    assert {line for row in rows for line in told(row)} == set()


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not RAVDESS.is_dir(), reason="needs ../shared/media/ravdess (480 real sound files)")
def test_avtca_on_the_sound_of_ravdess(project: Project, tmp_path: Path) -> None:
    """Eight actors are real; the other sixteen are the same files under the names of the others."""
    root = tmp_path / "RAVDESS"
    for actor in range(1, ACTORS + 1):
        for path in (RAVDESS / f"Actor_{(actor - 1) % HERE + 1:02}").glob("*.wav"):
            target = root / f"Actor_{actor:02}" / f"{path.stem[:-2]}{actor:02}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    rows = road(project, "avtca", "ravdess", root)
    ours = [row for row in rows if row["verdict"] != "another system"]
    assert ours and {row["verdict"] for row in ours} == {
        "not runnable"
    }  # every row of the paper needs pictures
    assert all("--features avtca_crops" in row["why"] for row in ours)
    run = project.json("evaluate", "data/models/avtca_ravdess_audio")
    assert 0 < run["test"]["accuracy"]["mean"] <= 1
    assert "no visual features, the paper uses visual" in run["deviations"]
