"""What is there to be used: every encoder of the registry, and why one cannot run here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from ercache.weights import FOLDER_VARIABLE
from extract.encoders import ENCODERS
from fusion.papers import papers, read_paper


def test_encoders_say_whether_they_can_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    result = CliRunner().invoke(cli, ["encoders", "--json"])
    rows = {row["key"]: row for row in json.loads(result.stdout)}
    assert set(rows) == set(ENCODERS)
    assert rows["audio/prosody"]["available"] and rows["audio/prosody"]["why_not"] == ""
    absent = rows["audio/wav2vec2-emotion"]
    assert not absent["available"] and "wav2vec2-emotion" in absent["why_not"]
    assert absent["licence"] == "CC-BY-NC-SA-4.0"
    installed = importlib.util.find_spec("opensmile") is not None
    assert rows["audio/egemaps"]["available"] == installed
    assert installed or "ercache[egemaps]" in rows["audio/egemaps"]["why_not"]


def test_encoders_of_the_papers_are_encoders_of_the_registry() -> None:
    named = {feature.encoder for key in papers() for feature in read_paper(key).features.values()}
    assert {"audio/wav2vec2-large", "visual/dan", "text/m2fnet-roberta"} <= named <= set(ENCODERS)


def test_the_command_tree_imports_no_slow_packages() -> None:
    heavy = ["torch", "transformers", "librosa", "sklearn", "pandas", "matplotlib"]
    program = f"import sys, app.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
