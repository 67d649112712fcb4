"""What the command line owes to people who look around, mistype, interrupt it, or may not write."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from ercache.wording import count_noun
from extract.encoders import numba_cache
from tests.support.as_on import NOT_GIVEN_UP, refuses, refusing

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "librosa")


def test_version_and_help_are_where_people_look_for_them() -> None:
    shown = CliRunner().invoke(cli, ["--version"])
    assert shown.exit_code == 0 and shown.stdout.startswith("ercache ")
    for arguments in (["-h"], ["cache", "-h"], ["cache", "gc", "-h"]):
        shown = CliRunner().invoke(cli, arguments)
        assert shown.exit_code == 0 and "Usage" in shown.stdout


@pytest.mark.parametrize("package", ["app", "ercache"])
def test_the_packages_run_as_modules(package: str) -> None:
    command = [sys.executable, "-m", package, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("ercache ")


@pytest.mark.parametrize(
    "arguments",
    [["train", "m2fnt"], ["train", "--model", "m2fnt", "--corpus", "demo"], ["sweep", "m2fnt"], ["pretrain", "x"],
     ["reproduce", "m2fnt"]],
)  # fmt: skip
def test_what_is_misspelt_is_told_before_what_takes_seconds_to_import(arguments: list[str]) -> None:
    program = (
        f"import sys; sys.argv = ['ercache', *{arguments}]\nfrom app.cli import main\n"
        f"try: main()\nfinally: print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and done.stdout.endswith("[]\n"), done.stderr
    assert arguments[0] == "pretrain" or "m2fnet" in done.stderr


INTERRUPTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["ercache", "train", "m2fnet", "--seeds", "1"]
from app.cli import main
main()
"""


@pytest.mark.parametrize("at", ["typer", "app.commands.training", "fusion.training.run"])
def test_an_interrupt_during_imports_is_no_traceback(at: str) -> None:
    program = INTERRUPTED.format(at=at)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


def test_an_interrupt_says_that_the_same_command_goes_on() -> None:
    program = INTERRUPTED.format(at="fusion.training.run")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "goes on from there" in done.stderr and "-> ercache train m2fnet --seeds 1" in done.stderr


@pytest.mark.e2e
def test_an_interrupted_extraction_ends_in_words_and_goes_on(tmp_path: Path, demo_corpus: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    environment = {**os.environ, "ERCACHE_STORE": str(tmp_path / "store")}
    command = [
        sys.executable,
        "-m",
        "app",
        "extract",
        "demo",
        "--root",
        str(demo_corpus),
        "--features",
        "face_hog",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "store").glob("*.seg")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode in (0, 130), told  # the corpus is tiny: it may just have been done
    if process.returncode:
        assert "the same command goes on" in told and "Traceback" not in told


def test_doctor_names_a_store_that_cannot_be_written_and_where_results_go(tmp_path: Path) -> None:
    if not refuses("rights"):
        pytest.skip(NOT_GIVEN_UP)
    (tmp_path / "theirs").mkdir(mode=0o555)
    environment = {
        **os.environ,
        "ERCACHE_STORE": str(tmp_path / "theirs"),
        "XDG_CACHE_HOME": str(tmp_path / "own"),
    }
    command = [*refusing("rights"), sys.executable, "-m", "app", "doctor", "--json"]

    def store() -> dict[str, object]:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Warning" not in done.stderr and "Traceback" not in done.stderr
        (row,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "store"]
        return row

    shared = store()
    assert (
        shared["ok"] and str(tmp_path / "own") in str(shared["detail"]) and "denied" in str(shared["detail"])
    )
    (tmp_path / "own" / "ercache" / "store").chmod(0o555)
    alone = store()
    assert not alone["ok"] and "ERCACHE_STORE" in str(alone["remedy"])


def test_doctor_tells_where_compiled_functions_of_librosa_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.commands.listing import _numba

    assert _numba()["ok"]
    monkeypatch.setattr(numba_cache, "why_not", lambda _: "Read-only file system")
    assert not _numba()["ok"] and "NUMBA_CACHE_DIR" in _numba()["remedy"]


def test_one_of_a_thing_is_no_plural() -> None:
    assert count_noun(1, "fault") == "1 fault" and count_noun(0, "fault") == "0 faults"
    assert count_noun(2, "wrong entry", "wrong entries") == "2 wrong entries"
