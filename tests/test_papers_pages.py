"""Every citation of a page in docs/papers, docs/encoders.md or docs/corpora.md points to something that the page has.

A citation names the page and then sections, items of section 11 or points of section 10, or an anchor:
`docs/papers/m2fnet.md, section 11, items 4 to 8`, `docs/papers/amuse.md, section 5.2 and A-11`,
`docs/encoders.md#faces`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAPERS = ("amuse", "avafn", "avtca", "cues", "m2fnet")
ROOMS = ("app", "bench", "ercache", "extract", "fusion", "tests")
POINT = r"[AR]-?\d+"
NUMBER = r"\d+(?:\.\d+)*"
CITATION = re.compile(
    rf"docs/(?P<page>papers/\w+|encoders|corpora)\.md(?P<anchor>#[\w-]+)?"
    rf"(?P<tail>(?:(?:,| and| to|, and)? (?:sections? |items? )?(?:{NUMBER}|{POINT})(?![\w:]))*)"
)
TOKEN = re.compile(rf"sections?|items?|{POINT}|{NUMBER}")
# "item 7", "items_13_and_16" in the name or the words of a test
ITEMS = re.compile(r"\bitems? (\d+)(?:(?: and |, | to )(\d+))?|_items?_(\d+)(?:_and_(\d+))?")


@dataclass(frozen=True)
class Page:
    """What can be cited of a page.

    Attributes:
        sections: numbers of its headings, `4` or `4.13`.
        anchors: of its headings, as mkdocs makes them, and of its points.
        points: `A-7`, `R11` of section 10.
        items: numbers of the list of section 11.
    """

    sections: frozenset[str]
    anchors: frozenset[str]
    points: frozenset[str]
    items: frozenset[str]


def read_page(text: str) -> Page:
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", bare, re.MULTILINE)
    checks = re.search(r"^## 11\. .*?(?=^## |\Z)", bare, re.MULTILINE | re.DOTALL)
    return Page(
        sections=frozenset(n for t in titles for n in re.findall(rf"^({NUMBER})\.? ", t)),
        anchors=frozenset(map(slug, titles)) | set(re.findall(r'<a id="([\w-]+)">', bare)),
        points=frozenset(re.findall(rf"^- <a id=.*?\*\*({POINT})\*\*", bare, re.MULTILINE)),
        items=frozenset(re.findall(r"^(\d+)\. ", checks[0] if checks else "", re.MULTILINE)),
    )


def slug(title: str) -> str:
    """The anchor of a heading (python-markdown's rule)."""
    kept = re.sub(r"[^\w\s-]", "", title).strip().lower()
    return re.sub(r"[-\s]+", "-", kept)


def page_of(key: str) -> Page | None:
    path = ROOT / "docs" / f"{key}.md"
    return read_page(path.read_text(encoding="utf-8")) if path.is_file() else None


def texts() -> Iterator[tuple[Path, str]]:
    """Python files and tables of the papers, each as one line."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml") and path != Path(__file__):
                yield (
                    path.relative_to(ROOT),
                    " ".join(re.sub(r"\n\s*#", "\n", path.read_text("utf-8")).split()),
                )


def faults_of(text: str) -> list[str]:
    """Citations of a text that point to nothing."""
    return [f"{m[0]}: {told}" for m in CITATION.finditer(text) for told in _faults(m)]


def _faults(citation: re.Match[str]) -> Iterator[str]:
    page = page_of(citation["page"])
    if page is None:
        yield "no such page"
        return
    if citation["anchor"] and citation["anchor"][1:] not in page.anchors:
        yield f"no anchor {citation['anchor']}"
    kind = ""
    for token in TOKEN.findall(citation["tail"]):
        if token.startswith(("section", "item")):
            kind = token.rstrip("s")
        elif token[0] in "AR":
            if token not in page.points:
                yield f"no point {token}"
        elif not kind:
            yield f"{token} is neither called a section nor an item"
        elif token not in (page.sections if kind == "section" else page.items):
            yield f"no {kind} {token}"


def test_citations_point_to_what_the_pages_have() -> None:
    found = {str(path): faults for path, text in texts() if (faults := faults_of(text))}
    assert found == {}


def test_points_and_items_of_a_file_about_one_paper_stand_on_its_page() -> None:
    absent = []
    for path, text in texts():
        cited = {m["page"] for m in CITATION.finditer(text) if m["page"].startswith("papers/")}
        page = page_of(cited.pop()) if len(cited) == 1 else None
        if page is None:
            continue
        inside = " ".join(re.findall(r"\(([^()]*)\)", text))
        points = set(re.findall(r"(?<![\w.-])(A-\d+|[AR]\d{1,2})(?![\w-])", inside))
        items = {n for m in ITEMS.findall(text) for n in m if n and path.parts[0] == "tests"}
        absent += [f"{path}: {x}" for x in sorted(points - page.points) + sorted(items - page.items)]
    assert absent == []


def test_tests_that_name_a_paper_and_an_item_name_one_that_there_is() -> None:
    names = "|".join(PAPERS)
    pattern = re.compile(rf"def test_\w*?(?:({names})_item_(\d+)|item_(\d+)_of_({names}))")
    named = [(a or d, b or c) for _, text in texts() for a, b, c, d in pattern.findall(text)]
    assert len(named) > 4
    assert [f"{p} {n}" for p, n in named if n not in _page(p).items] == []


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_has_its_sections_points_and_checks(paper: str) -> None:
    page = _page(paper)
    assert {str(n) for n in range(1, 13)} <= page.sections
    for numbers in ([int(re.sub(r"\D", "", p)) for p in page.points], [int(n) for n in page.items]):
        assert sorted(numbers) == list(range(1, len(numbers) + 1)) and len(numbers) > 20


@pytest.mark.parametrize("paper", PAPERS)
def test_links_of_a_page_lead_to_pages_and_anchors_of_the_docs(paper: str) -> None:
    folder = ROOT / "docs" / "papers"
    links = re.findall(r"\]\(([^)\s]+)\)", (folder / f"{paper}.md").read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert local
    for link in local:
        file, _, anchor = link.partition("#")
        target = (folder / file).resolve() if file else folder / f"{paper}.md"
        assert target.is_file(), link
        assert not anchor or anchor in read_page(target.read_text(encoding="utf-8")).anchors, link


@pytest.mark.parametrize("paper", PAPERS)
def test_files_that_a_page_names_are_there(paper: str) -> None:
    text = (ROOT / "docs" / "papers" / f"{paper}.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:ercache|extract|fusion|tests)/[\w/.]+)`", text)
    assert named
    assert [n for n in named if not (ROOT / n).exists()] == []


def test_a_citation_of_nothing_is_found() -> None:
    assert faults_of("see docs/papers/m2fnet.md, section 11, items 4 to 8; docs/encoders.md#faces") == []
    assert faults_of("see docs/papers/amuse.md, section 5.2 and A-11: what") == []
    for wrong in ("papers/m2fnet.md, section 4.99", "papers/m2fnet.md, section 11, item 26", "papers/cues.md, A23",
                  "papers/cues.md 3.2", "papers/nobody.md", "encoders.md#nothing"):  # fmt: skip
        assert len(faults_of(f"see docs/{wrong}.")) == 1, wrong


def _page(paper: str) -> Page:
    found = page_of(f"papers/{paper}")
    assert found is not None
    return found
