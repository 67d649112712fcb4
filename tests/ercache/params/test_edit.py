"""A changed params.yaml keeps what a person wrote."""

from pathlib import Path

import pytest
from ruamel.yaml.comments import CommentedMap

from ercache.errors import ParamsError
from ercache.params.edit import edited_text

PROJECT = Path(__file__).parents[3]
OWN = "# mine\nroots: {meld: '/a b'} # here\n\nfaces:\n  every: null\npipeline: {demo: default} # what runs\n"


def add(content: CommentedMap) -> None:
    content.setdefault("pipeline", CommentedMap())["meld"] = "m2fnet"


def test_comments_order_and_quotes_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(OWN)
    assert edited_text(path, add) == OWN.replace("{demo: default}", "{demo: default, meld: m2fnet}")
    assert path.read_text() == OWN, "nothing is written"


def test_the_projects_own_file_changes_in_one_line() -> None:
    before = (PROJECT / "params.yaml").read_text()
    after = edited_text(PROJECT / "params.yaml", add).splitlines()
    changed = [line for line in before.splitlines() if line not in after]
    assert len(changed) == 1 and changed[0].startswith("pipeline: {demo: default} #")


def test_without_a_change_every_byte_stays(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a:   1\nb:\n      - 2\n")
    assert edited_text(path, lambda content: None) == path.read_text()


def test_an_absent_file_is_an_empty_one(tmp_path: Path) -> None:
    assert edited_text(tmp_path / "absent.yaml", add) == "pipeline:\n  meld: m2fnet\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sections_that_do_not_change_keep_their_bytes(tmp_path: Path, end: str) -> None:
    odd = "a:   1\nb:\n      - 2   # two\n\npipeline: {demo:  default} # runs\n# below\nc: [ 1,2 ]".replace(
        "\n", end
    )
    path = tmp_path / "params.yaml"
    path.write_bytes(odd.encode())

    def change(content: CommentedMap) -> None:
        add(content)
        content["d"] = {"e": 1}

    wanted = odd.replace("{demo:  default}", "{demo: default, meld: m2fnet}") + f"{end}d:{end}  e: 1{end}"
    assert edited_text(path, change) == wanted


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "just words"])
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml: "):
        edited_text(path, add)
