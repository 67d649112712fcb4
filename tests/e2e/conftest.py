"""A project folder as a user has it, with the tiny demo corpus made by the real command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHARED = ROOT.parent / "shared"


@dataclass(frozen=True)
class Project:
    """A folder with params.yaml, a store of its own, and the commands run in it."""

    folder: Path
    store: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ERCACHE_", "PYTEST_"))}
        path = f"{BIN}{os.pathsep}{inherited['PATH']}"
        return {**inherited, "PATH": path, "ERCACHE_STORE": str(self.store), "COLUMNS": "200"}

    def run(self, *command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code must be as told, and it must not show a traceback."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        told = f"{command} -> {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        assert "Traceback" not in done.stderr, told
        assert code is None or done.returncode == code, told
        return done

    def ercache(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("ercache", *arguments, code=code)

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.ercache(*arguments, "--json", code=code).stdout)

    def caches(self) -> dict[str, bytes]:
        folder = self.folder / "data" / "caches"
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.h5"))}


@pytest.fixture(scope="session")
def tiny_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny demo corpus, made once a session."""
    folder = tmp_path_factory.mktemp("media") / "demo"
    Project(folder.parent, folder.parent / "store").ercache("demo", str(folder), "--size", "tiny")
    return folder


MakeProject = Callable[[], Project]


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, tiny_media: Path) -> MakeProject:
    """Fresh projects on the tiny demo corpus, each with an empty store."""

    def make() -> Project:
        folder = tmp_path_factory.mktemp("project")
        for name in ("params.yaml", "extract/versions.yaml"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        params = folder / "params.yaml"
        text = params.read_text().replace("epochs: 60", "epochs: 4")
        text = text.replace(", mel_resnet18, m2fnet_dual]", "]")  # only tests of trainings wait for theirs
        # A second lane pays for its start in minutes, not in the seconds of this corpus.
        params.write_text(text.replace("lanes: 2", "lanes: 1").replace("workers: 1", "workers: 2"))
        (folder / "data" / "raw").mkdir(parents=True)
        (folder / "data" / "raw" / "demo").symlink_to(tiny_media)
        return Project(folder, folder / "store")

    return make


@pytest.fixture(scope="session")
def extracted(make_project: MakeProject) -> Project:
    """A project whose default profile has been extracted; not to be changed."""
    project = make_project()
    project.ercache("extract", "demo")
    return project
