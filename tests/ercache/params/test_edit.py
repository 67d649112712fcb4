"""A changed params.yaml keeps what a person wrote."""

from pathlib import Path

import pytest

from ercache.errors import ParamsError
from ercache.params.edit import edited

PROJECT = Path(__file__).parents[3]
OWN = "# mine\nroots: {meld: '/a b'} # here\n\nfaces:\n  every: null\npipeline: {demo: default} # what runs\n"


def test_comments_order_and_quotes_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(OWN)
    with edited(path) as content:
        content["pipeline"]["meld"] = "m2fnet"
    assert path.read_text() == OWN.replace("{demo: default}", "{demo: default, meld: m2fnet}")


def test_the_projects_own_file_changes_in_one_line(tmp_path: Path) -> None:
    path, before = tmp_path / "params.yaml", (PROJECT / "params.yaml").read_text()
    path.write_text(before)
    with edited(path) as content:
        content["pipeline"]["meld"] = "m2fnet"
    after = path.read_text().splitlines()
    changed = [line for line in before.splitlines() if line not in after]
    assert len(changed) == 1 and changed[0].startswith("pipeline: {demo: default} #")


def test_nothing_is_written_without_a_change_or_after_an_error(tmp_path: Path) -> None:
    path, absent = tmp_path / "params.yaml", tmp_path / "absent.yaml"
    odd = "a:   1\nb:\n      - 2\n"
    path.write_text(odd)
    with edited(path) as content:
        content["a"] = 1
    with pytest.raises(RuntimeError), edited(path) as content:
        content["a"] = 2
        raise RuntimeError
    with edited(absent):
        pass
    assert path.read_text() == odd and not absent.exists()


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "just words"])
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml: "), edited(path):
        pass
    assert path.read_text() == text
