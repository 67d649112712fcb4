"""Curves as dvclive writes them, in folders of any kind."""

import subprocess
from pathlib import Path

import pytest

from ercache.trained_extractors import CURVES, TABLES
from extract.pretrain.curves import write_curves

HISTORY = [
    {"epoch": 1, "train_loss": 2.5, "validation_auc": 0.5},
    {"epoch": 2, "train_loss": 1.25, "validation_auc": 0.75},
]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("commits", [None, 0, 1])
def test_a_table_for_each_score_and_no_repository_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if commits is not None:
        git(tmp_path, "init", "--quiet")
    if commits:
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    write_curves(tmp_path / "made", HISTORY)
    tables = {path.name: path.read_text() for path in (tmp_path / "made" / TABLES).iterdir()}
    assert tables == {
        "train_loss.tsv": "step\ttrain_loss\n1\t2.5\n2\t1.25\n",
        "validation_auc.tsv": "step\tvalidation_auc\n1\t0.5\n2\t0.75\n",
    }
    assert [path.name for path in (tmp_path / "made").iterdir()] == [CURVES]
    assert not (tmp_path / ".dvc").exists()
    if commits is not None:
        assert git(tmp_path, "status", "--porcelain") == "?? made/\n"
