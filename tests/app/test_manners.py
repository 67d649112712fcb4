"""What every command line offers: version, help, completion, clear errors, and a clean exit on Ctrl-C."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.cli import cli
from ercache.wording import count_noun
from extract.encoders import numba_cache
from tests.support.as_on import NOT_GIVEN_UP, refuses, refusing

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "librosa")


def command_paths() -> list[tuple[str, ...]]:
    """The words of every command and group: (), ("scan",), ("cache",), ("cache", "ls"), ..."""

    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, (*path, name))

    return list(below(typer.main.get_command(cli), ()))


def help_text(*arguments: str) -> str:
    shown = CliRunner().invoke(cli, arguments, env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}, color=False)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_version_is_the_installed_one() -> None:
    shown = CliRunner().invoke(cli, ["--version"])
    assert shown.exit_code == 0 and shown.stdout == f"ercache {version('ercache')}\n"


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_every_command_has_help_with_an_example_within_100_columns(path: tuple[str, ...]) -> None:
    long, short = help_text(*path, "--help"), help_text(*path, "-h")
    assert long == short and "Usage: ercache" in long.replace("root", "ercache")
    assert max(map(len, long.splitlines())) <= 100
    assert "<bool>" not in long and "{" not in long and "}" not in long
    if "COMMAND [ARGS]" not in long:
        assert f"Example: ercache {' '.join(path)}" in long


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_and_installed(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    shown = CliRunner().invoke(cli, ["--show-completion"], prog_name="ercache")
    assert shown.exit_code == 0 and "_ERCACHE_COMPLETE" in shown.stdout
    installed = CliRunner().invoke(cli, ["--install-completion"], prog_name="ercache")
    assert installed.exit_code == 0 and f"{shell} completion installed" in installed.stdout
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and "_ERCACHE_COMPLETE" in path.read_text()
    ]


def test_completion_lists_commands_and_options() -> None:
    program = "import sys; sys.argv = ['ercache']; from app.cli import main; main()"
    for words, wanted in (("ercache tra", "train"), ("ercache train --mod", "--model")):
        environment = {"_ERCACHE_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split()) - 1)
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **environment}, cwd=ROOT,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.stdout.split() == [wanted], done.stderr


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
def test_misspelt_names_are_reported_before_slow_imports(arguments: list[str]) -> None:
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
def test_an_interrupt_during_imports_prints_no_traceback(at: str) -> None:
    program = INTERRUPTED.format(at=at)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


def test_after_an_interrupt_the_command_that_continues_is_printed() -> None:
    program = INTERRUPTED.format(at="fusion.training.run")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "run the same command to continue" in done.stderr
    assert "-> ercache train m2fnet --seeds 1" in done.stderr


def test_doctor_names_a_read_only_store_and_the_folder_used_instead(tmp_path: Path) -> None:
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


def test_doctor_checks_the_cache_of_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.commands.listing import _numba

    assert _numba()["ok"]
    monkeypatch.setattr(numba_cache, "why_not_writable", lambda _: "Read-only file system")
    assert not _numba()["ok"] and "NUMBA_CACHE_DIR" in _numba()["remedy"]


def test_a_count_of_one_has_a_singular_noun() -> None:
    assert count_noun(1, "fault") == "1 fault" and count_noun(0, "fault") == "0 faults"
    assert count_noun(2, "wrong entry", "wrong entries") == "2 wrong entries"
