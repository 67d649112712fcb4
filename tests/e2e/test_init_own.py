"""One's own material through the real commands: a folder by `init` and `dvc repro`, a features file by two commands."""

from pathlib import Path

import pytest

from tests.app.commands.test_init_own import talks
from tests.e2e.conftest import MakeProject
from tests.support.feature_files import mmgcn_tuple, pickled

pytestmark = pytest.mark.e2e


@pytest.mark.full  # what init writes for a folder is tested in tests/app/commands/test_init_own.py
def test_a_folder_goes_from_init_to_a_trained_score_by_dvc(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project()
    with project.params() as params:
        del params["experiments"]["m2fnet_own"]  # uses extractors that these projects do not train
    made = project.json("init", "--folder", str(talks(tmp_path / "talks")))
    project.run("dvc", "init", "--no-scm")
    # The stages of the other corpora have no media here; only those of this folder are asked for.
    repro = ["dvc", *made["next"].rpartition("dvc ")[2].split()]
    project.run(*repro)
    assert (project.folder / "data/models/talks/metrics.json").is_file()
    again = project.run(*repro)
    assert "Running stage" not in again.stdout
    assert project.run("ercache", "pipeline", "--check").returncode == 0


def test_a_features_file_needs_two_commands(make_project: MakeProject) -> None:
    project = make_project()
    pickled(project.folder / "mm.pkl", mmgcn_tuple())
    told = project.ercache("init", "--from", "mm.pkl").stderr
    (command,) = [line.removeprefix("next: ") for line in told.splitlines() if line.startswith("next: ")]
    trained = project.run(*command.split())
    assert "weighted_f1" in trained.stdout and "origin of mm_text unknown" in trained.stderr
    assert project.ercache("report").returncode == 0
