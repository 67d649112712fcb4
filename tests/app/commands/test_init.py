"""`ercache init` puts a paper's runs on a corpus into the pipeline, says what is lacking, and takes them out again."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from ercache.manifest import read_manifest
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


def test_empty_sections_are_filled(project: Path, run: Run, tmp_path: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "corpora": None, "pipeline": None}))
    (project / "params.local.yaml").write_text("roots:\n")
    done = run("init", "m2fnet", "meld", "--root", str(write_tables(tmp_path / "MELD")))
    assert done.code == 0, done.err
    assert "meld" in yaml.safe_load((project / "params.yaml").read_text())["pipeline"]


def test_the_plan_estimates_time_and_disk_space_and_compares_it_with_the_free_space(
    project: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"utterances_per_second": 0.01, "kilobytes_per_utterance": 2_000_000}
    measured = {"machine": {"cores": 2, "processor": "x"}, "text/m2fnet-roberta": {"cpu": rates}}
    (project / "docs").mkdir()
    (project / "docs" / "benchmarks.json").write_text(json.dumps({"encoders": measured}))
    meld = write_tables(tmp_path / "MELD")
    plan = json.loads(run("init", "m2fnet", "meld", "--root", str(meld), "--json").out)
    utterances = len(read_manifest(project / "data/manifests/meld.jsonl").utterances)
    assert plan["estimate_seconds"] == pytest.approx(utterances / 0.01)
    assert plan["estimate_bytes"] == utterances * 2 * 2_000_000_000 and plan["free_bytes"] > 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free=3_000_000_000))
    told = run("init", "m2fnet", "meld").err
    assert f"{4 * utterances:,}.0 GB on disk, from rates measured on 2 cores" in told
    assert "warning: the disk has 3.0 GB free" in told
    del rates["kilobytes_per_utterance"]  # as in measurements that were made before sizes were measured
    (project / "docs" / "benchmarks.json").write_text(json.dumps({"encoders": measured}))
    told = run("init", "m2fnet", "meld").err
    assert "on disk" not in told and "free" not in told and "from rates measured on 2 cores" in told


class Usage(NamedTuple):
    free: int
