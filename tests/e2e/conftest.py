"""A project folder as a user has it, with the tiny demo corpus made by the real command."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from app import cli
from ercache.cache import Array, CacheFile
from ercache.manifest import Utterance, read_manifest, write_manifest
from extract.corpora.meld.scan import CLIP_FOLDERS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHARED = ROOT.parent / "shared"
TURNS = 3  # of each part of a small corpus


@dataclass(frozen=True)
class Project:
    """A folder with params.yaml, a store of its own, and the commands run in it.

    Attributes:
        inside: run `ercache` in this process, by the same entry: an interpreter takes seconds to import torch.
        passed: names of this process's variables that its commands see, too, although they begin with ERCACHE_.
    """

    folder: Path
    store: Path
    inside: bool = False
    passed: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("ERCACHE_", "PYTEST_")) or k in self.passed
        }
        path = f"{BIN}{os.pathsep}{inherited['PATH']}"
        return {**inherited, "PATH": path, "ERCACHE_STORE": str(self.store), "COLUMNS": "200"}

    @property
    def here(self) -> "Project":
        """The same, whose `ercache` runs in this process."""
        return replace(self, inside=True)

    @contextmanager
    def params(self) -> Iterator[dict[str, Any]]:
        """The content of params.yaml; what is changed in it is written."""
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield content
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def add_papers(self) -> None:
        """Add the files of papers, with our own list of word relations: ConceptNet is not here."""
        (self.folder / "papers").mkdir(exist_ok=True)
        for path in (ROOT / "papers").glob("*.yaml"):
            text = path.read_text(encoding="utf-8").replace(", knowledge: conceptnet", "")
            (self.folder / "papers" / path.name).write_text(text, encoding="utf-8")

    def run(self, *command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code must be as told, and it must not show a traceback."""
        if self.inside and command[0] == "ercache":
            done = self._inside(*command)
        else:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=3000
            )
        told = f"{command} -> {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        assert "Traceback" not in done.stderr, told
        assert code is None or done.returncode == code, told
        return done

    def _inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        out, err, environment = io.StringIO(), io.StringIO(), self.environment
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", list(command))
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                cli.main()
        return subprocess.CompletedProcess(command, int(left.value.code or 0), out.getvalue(), err.getvalue())

    def ercache(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("ercache", *arguments, code=code)

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.ercache(*arguments, "--json", code=code).stdout)

    def caches(self) -> dict[str, bytes]:
        folder = self.folder / "data" / "caches"
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.h5"))}

    def values(self, feature: str, folder: str = "data/caches") -> dict[str, dict[str, Array]]:
        """Arrays of a feature by utterance, those of all parts together; without what is missing."""
        found = {}
        for path in sorted((self.folder / folder).rglob(f"{feature}.*.h5")):
            with CacheFile(path) as cache:
                found |= {u: cache[u] for u in cache if cache.entries[cache.row[u]].status == "ok"}
        return found

    def keep(self, corpus: str, wanted: Callable[[Utterance], bool]) -> int:
        """Take all other utterances out of a scanned manifest; how many are left."""
        path = self.folder / "data" / "manifests" / f"{corpus}.jsonl"
        manifest = read_manifest(path)
        left = tuple(u for u in manifest.utterances if wanted(u))
        ids = {u.id for u in left}
        splits = {
            name: {subset: tuple(u for u in members if u in ids) for subset, members in split.items()}
            for name, split in manifest.splits.items()
        }
        problems = tuple(p for p in manifest.problems if p.utterance in ids)
        write_manifest(replace(manifest, utterances=left, splits=splits, problems=problems), path)
        return len(left)


MakeProject = Callable[[], Project]


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> MakeProject:
    """Fresh projects on the tiny demo corpus, each with an empty store."""

    def make() -> Project:
        folder = tmp_path_factory.mktemp("project")
        for name in ("params.yaml", "extract/versions.yaml"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        project = Project(folder, folder / "store")
        with project.params() as params:
            params["training"]["epochs"] = 4
            for trained in ("mel_resnet18", "m2fnet_dual"):  # only tests of trainings wait for theirs
                params["profiles"]["default"].remove(trained)
            # A second lane pays for its start in minutes, not in the seconds of this corpus.
            params["engine"] |= {"lanes": 1, "workers": 2}
        (folder / "data" / "raw").mkdir(parents=True)
        (folder / "data" / "raw" / "demo").symlink_to(demo_corpus)
        return project

    return make


@pytest.fixture(scope="session")
def make_small(
    make_project: MakeProject, demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeProject:
    """Projects on the first turns of each part: what is extracted many times need not be much."""
    root = tmp_path_factory.mktemp("few") / "demo"
    shutil.copytree(demo_corpus, root)
    for part, folder in CLIP_FOLDERS.items():
        table = root / f"{part}_sent_emo.csv"
        with table.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        named = [header.index(name) for name in ("Dialogue_ID", "Utterance_ID")]
        kept = {"dia{}_utt{}.mp4".format(*(row[place] for place in named)) for row in rows[:TURNS]}
        for clip in (root / folder).iterdir():
            if clip.name not in kept:
                clip.unlink()
        with table.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows[:TURNS]])

    def make() -> Project:
        project = make_project()
        place = project.folder / "data" / "raw" / "demo"
        place.unlink()
        place.symlink_to(root)
        return project

    return make


@pytest.fixture(scope="session")
def extracted(
    make_project: MakeProject, demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project whose default profile has been extracted, once for all workers of a run; not to be changed."""
    made = demo_corpus.with_name("extracted")
    with FileLock(f"{made}.lock"):
        if not made.is_dir():
            project = make_project()
            project.here.ercache("extract", "demo")
            project.folder.rename(made)
    folder = tmp_path_factory.mktemp("extracted") / "project"
    shutil.copytree(made, folder, symlinks=True)
    return Project(folder, folder / "store")


@pytest.fixture
def copied(extracted: Project, tmp_path: Path) -> Project:
    """A copy of the extracted project, to be changed."""
    folder = tmp_path / "copied"
    shutil.copytree(extracted.folder, folder, symlinks=True)
    return Project(folder, folder / "store", inside=True)
