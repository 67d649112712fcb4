"""Registries: entries are found by their files, a faulty or doubled one is refused, and listing keys is cheap."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ercache.errors import UsageError
from ercache.registry import Registry, lacking


class Thing:
    def __init__(self, key: str) -> None:
        self.key = key


def registry(name: str, by_file: bool = False) -> Registry[Any]:
    return Registry(name, f"ercache.{name}", lambda e: e.key, lambda e: lacking(e, Thing), by_file)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Write the files of a package that no other test has."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "package_" + "".join(c for c in request.node.name if c.isalnum())

    def files(**texts: str) -> str:
        for path, text in {"__init__": "", **texts}.items():
            file = tmp_path / name / (path.replace("__sub__", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"from {__name__} import Thing\n{text}\n", encoding="utf-8")
        return name

    return files


def test_entries_are_found_in_files_and_folders_under_any_name(write: Any) -> None:
    name = write(
        one='ENTRY = Thing("one")',
        several='ENTRIES = (Thing("two"), Thing("three-b"))',
        helper="",
        folder__sub____init__="",
        folder__sub__four='ENTRY = Thing("folder/four")',
    )
    found = registry(name)
    assert "folder/four" in found and set(found.known) == {"folder/four"}, "its file alone was read"
    assert list(found) == ["folder/four", "one", "three-b", "two"] and len(found) == 4
    assert "five" not in found and found.mapped(lambda e: e.key.upper())["one"] == "ONE"


def test_a_faulty_entry_and_two_of_one_key_are_refused(write: Any) -> None:
    with pytest.raises(UsageError, match="unusable entry"):
        list(registry(write(one="ENTRY = 7")))


def test_two_of_one_key_are_refused(write: Any) -> None:
    with pytest.raises(UsageError, match="already has an entry with the key 'one'"):
        list(registry(write(one='ENTRY = Thing("one")', two='ENTRY = Thing("one")')))


def test_keys_that_are_names_of_files_are_listed_without_importing_any(write: Any) -> None:
    name = write(one='raise RuntimeError("imported")\nENTRY = Thing("one")', helper="")
    found = registry(name, by_file=True)
    assert list(found) == ["one"] and "two" not in found


def test_listing_models_and_encoders_imports_no_torch() -> None:
    code = (
        "import sys; from fusion.models import MODELS; from extract.encoders import ENCODERS; "
        "list(MODELS), list(ENCODERS), 'm2fnt' in MODELS; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_key_that_is_not_the_name_of_its_file_is_refused_where_files_give_the_keys(write: Any) -> None:
    found = registry(write(one='ENTRY = Thing("other")'), by_file=True)
    with pytest.raises(UsageError, match="another key than 'one', the name of the file"):
        dict(found)
