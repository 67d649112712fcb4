"""docs/papers.md says what was run of the papers' tables: without any run it is what the repository holds."""

import re
from pathlib import Path

import pytest

from app.docs_pages.papers import page_text
from ercache.params.load import load_params
from ercache.params.schema import Params
from fusion.evaluation.row_result import RowResult, rows_file, write_rows
from fusion.papers import papers, read_paper
from tests.support.paper_runs import paper_record

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def loaded() -> Params:
    return load_params(ROOT / "params.yaml")


def section(page: str, title: str) -> str:
    return page.partition(f"{title}")[2].partition("\n## ")[0]


def test_the_committed_page_is_what_the_code_writes_without_any_run(loaded: Params, tmp_path: Path) -> None:
    page = page_text(loaded)
    stale = "run `python -m app.docs_pages.papers > docs/papers.md` and commit the result"
    assert (ROOT / "docs/papers.md").read_text(encoding="utf-8") == page, stale
    assert page_text(loaded, tmp_path) == page


def test_the_page_has_every_table_and_every_row_of_every_paper(loaded: Params) -> None:
    page = page_text(loaded)
    for key in papers():
        paper = read_paper(key)
        for table in paper.tables:
            name = f"Table {table.key}" if table.key.isdigit() else f"Figures of {table.key}"
            assert f"### {name}: {table.title}\n" in page
        for row in (row for table in paper.tables for row in table.rows):
            assert row.name in page
        for name in loaded.papers[key].corpora:
            assert f"`{key}_{name}" in page


def test_rows_say_what_can_be_said_without_a_run(loaded: Params) -> None:
    page = page_text(loaded)
    cues, m2fnet = section(page, "\n## Cues"), section(page, "\n## M2FNet")
    for name, word in (("full", "stand-in"), ("w/o KWRT", "no effect here"), ("w/o TMF", "no effect here")):
        assert f"| {name} | never | never | {word} |" in cues
    assert "| Scene embeddings | never | never | no features |" in m2fnet
    assert "| `m2fnet` | demo | erc | text: minilm; audio: prosody, mfcc; visual: face_hog |" in m2fnet
    assert re.search(r"\| 13 rows of others: BERT\+MTL; .* \| another system \|", m2fnet)


def test_what_reproduce_has_written_stands_in_its_cells(loaded: Params, tmp_path: Path) -> None:
    rows = [
        RowResult("2", "Only Text", "meld", {}, {}, "differs"),
        RowResult("2", "Only Audio", "meld", {}, {}, "stand-in", deviations=["a", "b"]),
    ]
    write_rows(rows_file(tmp_path, "m2fnet", "meld"), rows)
    run = tmp_path / "models/m2fnet_meld/run.json"
    run.parent.mkdir(parents=True)
    run.write_text(paper_record("m2fnet", "meld").model_dump_json(), encoding="utf-8")
    page = page_text(loaded, tmp_path)
    assert "visual: m2fnet_visual | yes, as in the paper |" in page
    assert "| Only Text | differs | never | stand-in |" in page
    assert "| Only Audio | stand-in, 2 deviations | never | stand-in |" in page
    assert "| Only Visual | never | never | stand-in |" in page
