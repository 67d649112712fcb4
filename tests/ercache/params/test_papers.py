"""The files of papers join params.yaml: their entries are known, and what contradicts is told with both places."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ercache.errors import ParamsError
from ercache.params.load import load_params
from ercache.params.papers import file_of
from ercache.params.schema import Params

PAPER: dict[str, Any] = {
    "features": {"p_text": {"encoder": "text/minilm"}},
    "corpora": {
        "meld": {
            "features": ["p_text"],
            "experiments": {"p_meld": {"model": "concat", "features": {"text": ["p_text"]}}},
            "reproduce": "p_meld",
        }
    },
}


def load(folder: Path, own: dict[str, Any], **papers: Any) -> Params:
    (folder / "papers").mkdir(exist_ok=True)
    for name, content in papers.items():
        (folder / "papers" / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "params.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return load_params(folder / "params.yaml")


def told(folder: Path, own: dict[str, Any], **papers: Any) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        load(folder, own, **papers)
    return list(caught.value.details)


def test_entries_of_a_paper_are_entries_of_the_project(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"features": {"mine": {"encoder": "text/minilm"}}}, p=PAPER)
    assert list(loaded.features) == ["mine", "p_text"] and loaded.reproduce == {"p": {"meld": "p_meld"}}
    assert loaded.experiments["p_meld"].corpus == "meld"
    assert file_of(loaded, "features", "p_text") == Path("papers/p.yaml")
    assert file_of(loaded, "features", "mine") is None


def test_a_persons_own_start_of_a_table_wins(tmp_path: Path) -> None:
    own = {"reproduce": {"p": {"meld": "mine", "demo": "mine"}}}
    assert load(tmp_path, own, p=PAPER).reproduce["p"] == {"meld": "mine", "demo": "mine"}


def test_a_name_in_two_files_is_told_with_both(tmp_path: Path) -> None:
    own = {"features": {"p_text": {"encoder": "text/minilm"}}, "experiments": {}}
    again = {**PAPER, "features": {}}
    assert told(tmp_path, own, p=PAPER, q=again) == [
        "features.p_text: also in papers/p.yaml; rename the entry in params.yaml",
        "experiments.p_meld: also in papers/q.yaml; rename the entry in papers/p.yaml",
    ]


def test_a_broken_file_of_a_paper_is_told_with_its_place(tmp_path: Path) -> None:
    broken = {
        "corpora": {"meld": {"features": [], "experiments": {"a": {"model": "concat"}}, "reproduc": "a"}}
    }
    lines = told(tmp_path, {}, p=broken)
    assert lines and all(line.startswith(f"{tmp_path / 'papers' / 'p.yaml'}: corpora.meld") for line in lines)
    assert any("did you mean 'reproduce'?" in line for line in lines)


def test_papers_are_no_entry_of_params(tmp_path: Path) -> None:
    assert told(tmp_path, {"papers": {}}) == [
        "papers: unknown key; the runs of papers stand in the files papers/PAPER.yaml"
    ]
