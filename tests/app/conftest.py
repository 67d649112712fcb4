"""A project folder with two features, and the command line run in it."""

from pathlib import Path

import pytest

from tests.support.command import Run, command_runner


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, and the current one."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "params.yaml").write_text(
        "features: {words: {encoder: text/minilm}, mfcc: {encoder: audio/mfcc}}\n"
    )
    return place


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line."""
    return command_runner(monkeypatch, capsys)
