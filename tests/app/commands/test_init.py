"""`ercache init` puts a paper's runs on a corpus into the pipeline, says what is lacking, and takes them out again."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ercache.weights import FOLDER_VARIABLE
from tests.support.command import Run, command_runner
from tests.support.meld_tables import write_tables

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without the demo's media and without checkpoints; it is the current folder."""
    folder = tmp_path / "project"
    for name in ("params.yaml", "papers", "extract/versions.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    return folder


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_runner(monkeypatch, capsys)


def stages(project: Path) -> list[str]:
    return list(yaml.safe_load((project / "dvc.yaml").read_text())["stages"])


def state(project: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(project.rglob("*")) if p.is_file() and p.suffix == ".yaml"}


def test_a_text_corpus_gets_the_text_rows_and_is_told_what_they_lack(
    project: Path, run: Run, tmp_path: Path
) -> None:
    meld = write_tables(tmp_path / "MELD")
    done = run("init", "m2fnet", "meld", "--root", str(meld), "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    named = ["manifest-meld", "pretrain-m2fnet_text_meld", "extract-meld-text", "reproduce-m2fnet-meld"]
    assert plan["deviations"] == [] and plan["stages"] == named and [*named, "report"] == stages(project)
    (need,) = plan["weights"]
    assert need["key"] == "roberta-large" and not need["present"] and need["bytes"] > 1e9
    assert "ercache weights fetch roberta-large" in need["command"]
    params = yaml.safe_load((project / "params.yaml").read_text())
    assert params["pipeline"] == {"meld": {"profiles": ["m2fnet"], "modalities": ["text"]}}
    assert yaml.safe_load((project / "params.local.yaml").read_text()) == {"roots": {"meld": str(meld)}}


def test_a_second_paper_joins_and_each_leaves_alone(project: Path, run: Run, tmp_path: Path) -> None:
    meld = write_tables(tmp_path / "MELD")
    untouched = (project / "params.yaml").read_text().splitlines()
    assert run("init", "m2fnet", "meld", "--root", str(meld)).code == 0
    done = run("init", "cues", "amuse", "meld")  # the folder is known now
    assert done.code == 0, done.err
    assert {"reproduce-cues-meld", "reproduce-amuse-meld", "reproduce-m2fnet-meld"} <= set(stages(project))
    assert run("init", "cues", "m2fnet", "meld", "--remove").code == 0
    assert [s for s in stages(project) if s.startswith("reproduce")] == ["reproduce-amuse-meld"]
    assert run("init", "amuse", "meld", "--remove").code == 0
    assert [s for s in stages(project) if "meld" in s] == []
    after = (project / "params.yaml").read_text().splitlines()
    assert [line for line in after if line not in untouched] == [
        line for line in after if line.startswith("pipeline:")
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("m2fnett", "meld"), ["unknown paper 'm2fnett'; did you mean 'm2fnet'?"]),
        (("m2fnet", "avtca", "ravdes"), ["unknown corpus 'ravdes'; did you mean 'ravdess'?"]),
        (
            ("avafn", "avtca", "iemocap"),
            ["paper avafn has no table on iemocap, only on meld", "paper avtca has no"],
        ),
        (("meld",), ["a paper and a corpus are needed"]),
        (("m2fnet", "meld", "--remove"), ["not in the pipeline of meld: m2fnet"]),
        (("m2fnet", "meld", "--root", "nowhere"), ["is not a folder"]),
        (("avtca", "ravdess", "--root", "."), ["ravdess: no file like"]),
    ],
)
def test_bad_input_is_one_list_and_nothing_is_written(
    project: Path, run: Run, arguments: tuple[str, ...], told: list[str]
) -> None:
    before = state(project)
    done = run("init", *arguments)
    assert done.code == 2 and state(project) == before
    for text in told:
        assert text in done.err


def test_params_that_contradict_a_paper_are_told(project: Path, run: Run, tmp_path: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  demo: {}", "  demo: {}\n  ravdess: {channel: both}"))
    before = state(project)
    done = run("init", "avtca", "ravdess", "--root", str(tmp_path))
    assert done.code == 2 and state(project) == before
    assert "avtca needs `corpora.ravdess.channel: speech`, params.yaml has both" in done.err


def test_a_pipeline_that_cannot_be_written_leaves_every_file_as_it_was(
    project: Path, run: Run, tmp_path: Path
) -> None:
    path = project / "params.yaml"
    own = "  mine: {model: concat, corpus: meld, features: {text: [minilm]}}\n"
    path.write_text(path.read_text().replace("experiments:\n", f"experiments:\n{own}"))
    before = state(project)
    done = run("init", "m2fnet", "meld", "--root", str(write_tables(tmp_path / "MELD")))
    assert done.code == 2 and state(project) == before
    assert "experiments.mine: feature 'minilm' is not in the pipeline's profile" in done.err


def test_a_demo_that_is_made_elsewhere_stays_in_the_pipeline(project: Path, run: Run, tmp_path: Path) -> None:
    (project / "params.local.yaml").write_text(f"roots: {{demo: {tmp_path}}}\n")
    assert run("init", "m2fnet", "meld", "--root", str(write_tables(tmp_path / "MELD"))).code == 0
    pipeline = yaml.safe_load((project / "params.yaml").read_text())["pipeline"]
    assert pipeline["demo"] == "default" and "meld" in pipeline
