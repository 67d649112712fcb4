"""Where numba may write nowhere, librosa is compiled once, by one process, into a folder of ours."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ercache.errors import WorkError
from extract.encoders import numba_cache
from extract.encoders.numba_cache import VARIABLE, place_found_by_numba, prepare

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing but our own folder can be written, and the variable is left as it was."""
    monkeypatch.setenv(VARIABLE, "/nonexistent")
    monkeypatch.setattr(numba_cache, "user_folder", lambda: tmp_path)
    here = lambda folder: None if folder.is_relative_to(tmp_path) else "Read-only file system"  # noqa: E731
    monkeypatch.setattr(numba_cache, "why_not_writable", here)
    return tmp_path


def compiling(code: int = 0, meanwhile: Callable[[], None] = lambda: None) -> Run:
    """Stands in for half a minute of compiling."""

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:] == ["-m", "extract.encoders.warm_up"]
        Path(env[VARIABLE]).mkdir(parents=True)
        (Path(env[VARIABLE]) / "compiled").touch()
        meanwhile()
        return subprocess.CompletedProcess(command, code, "", "Traceback ..\nLLVM ERROR: no room")

    return run


def test_it_is_compiled_once_and_said_so(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(numba_cache.subprocess, "run", compiling())
    prepare()
    folder = Path(os.environ[VARIABLE])
    assert (folder / "compiled").is_file() and [folder] == list((nowhere / "numba").iterdir())
    assert str(folder) in capsys.readouterr().err
    monkeypatch.setattr(numba_cache.subprocess, "run", None)
    monkeypatch.setenv(VARIABLE, "/nonexistent")
    prepare()
    assert os.environ[VARIABLE] == str(folder)


def test_of_two_that_compile_at_once_the_first_wins_whole(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> None:
        monkeypatch.setattr(numba_cache.subprocess, "run", compiling())
        monkeypatch.setattr(numba_cache.os, "getpid", lambda: 2**31 - 1)
        prepare()
        monkeypatch.undo()

    monkeypatch.setattr(numba_cache.subprocess, "run", compiling(meanwhile=other))
    folder = nowhere / "numba" / numba_cache._folder_name()
    numba_cache._compile_into(folder)
    assert [p.name for p in (nowhere / "numba").iterdir()] == [folder.name]
    assert [p.name for p in folder.iterdir()] == ["compiled"]


def test_what_cannot_be_compiled_is_told_and_leaves_nothing(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_cache.subprocess, "run", compiling(1))
    with pytest.raises(WorkError, match="LLVM ERROR: no room"):
        prepare()
    assert list((nowhere / "numba").iterdir()) == []


def test_where_numba_finds_a_place_of_its_own_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(numba_cache.subprocess, "run", None)
    prepare()
    assert os.environ[VARIABLE] == str(tmp_path) and place_found_by_numba() == tmp_path


PROGRAM = """
from extract.encoders.numba_cache import prepare
prepare()
import librosa, numpy as np
print(len(librosa.yin(np.ones(4096, "f4"), fmin=60, fmax=400)))
"""


@pytest.mark.full
def test_librosa_runs_from_an_installation_and_with_a_home_that_are_only_read(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("librosa")
    assert spec is not None and spec.origin is not None
    librosa = Path(spec.origin).parent
    (tmp_path / "home").mkdir()
    mounts = [
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place}"
        for place in (librosa, tmp_path / "home")
    ]
    script = f"{' && '.join(mounts)} || exit 77; exec {sys.executable} -c '{PROGRAM}'"
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "ERCACHE_STORE": str(tmp_path / "store"),
    }
    environment.pop(VARIABLE, None)
    if shutil.which("unshare") is None:
        pytest.skip("needs the right to mount a small file system")
    for seconds in (500, 120):
        command = ["unshare", "--mount", "sh", "-c", script]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("needs the right to mount a small file system")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "9\n"
    assert done.stderr == "", "the second process finds it compiled"
