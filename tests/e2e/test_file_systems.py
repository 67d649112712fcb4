"""Whole extractions on machines that refuse something make the same bytes, or say in words where they went."""

from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, MakeProject, Project
from tests.support.as_on import NOT_GIVEN_UP, NOT_HERE, refuses, refusing

pytestmark = pytest.mark.e2e
COMMAND = ("extract", "demo", "--features", "mfcc,face_hog")


def on(project: Project, *refused: str, command: tuple[str, ...] = COMMAND, code: int = 0) -> str:
    """What `ercache` says on stderr on such a machine."""
    return project.run(*refusing(*refused), str(BIN / "ercache"), *command, code=code).stderr


@pytest.fixture(scope="module")
def usual(make_small: MakeProject) -> Project:
    project = make_small()
    project.here.ercache(*COMMAND)
    return project


def test_an_extraction_without_fallocate_and_locks_makes_the_same_bytes(
    make_small: MakeProject, usual: Project
) -> None:
    if not all(refuses(what) for what in ("fallocate", "flock", "locks")):
        pytest.skip(NOT_HERE)
    project = make_small()
    told = on(project, "fallocate", "flock=37", "locks=37")
    assert "every file is inspected" in told and "Warning" not in told and "Errno" not in told
    assert project.caches() == usual.caches()
    on(project, "flock=5", command=("cache", "verify", "data/caches"))
    told = on(project, "flock=95", command=("cache", "gc", "--yes"), code=1)
    assert "no locks" in told and "ERCACHE_STORE" in told


def test_a_store_of_somebody_else_is_used_and_left_as_it_is(
    make_small: MakeProject, usual: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not refuses("rights"):
        pytest.skip(NOT_GIVEN_UP)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    project = Project(make_small().folder, usual.store)
    before = {path: path.read_bytes() for path in usual.store.iterdir()}
    for path in before:
        path.chmod(0o444)
    usual.store.chmod(0o555)
    try:
        told = on(project, "rights")
        assert "0 computed" in told and "is not writable" in told and str(tmp_path / "own") in told
        assert project.caches() == usual.caches()
        assert {path: path.read_bytes() for path in usual.store.iterdir()} == before
        on(project, "rights", command=("extract", "demo", "--features", "prosody"))
        assert list((tmp_path / "own").rglob("*.seg")), "what is new goes to the user's own folder"
    finally:
        usual.store.chmod(0o755)
