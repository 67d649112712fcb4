"""Add the runs of papers, which stand in the files papers/PAPER.yaml, to the content of params.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from ercache.params.schema import Params

FOLDER: Final = Path("papers")
Section = Literal["features", "pretrain", "experiments"]
SECTIONS: Final[tuple[Section, ...]] = ("features", "pretrain", "experiments")


def with_papers(
    raw: Mapping[str, Any], papers: Mapping[str, dict[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Add the runs of papers to the content of params.yaml.

    Args:
        raw: content of params.yaml, not checked yet.
        papers: paper -> content of its file. The content is valid.

    Returns:
        Two values: the joined content, and one sentence for each name that two files define.
    """
    joined = {**raw, **{section: dict(_mapping(raw.get(section))) for section in (*SECTIONS, "reproduce")}}
    owner = {(section, name): "params.yaml" for section in SECTIONS for name in joined[section]}
    found = []
    if "papers" in raw:
        found.append(f"papers: unknown key; the runs of papers stand in the files {FOLDER}/PAPER.yaml")
    for paper, content in papers.items():
        for section, named in _named(content).items():
            for name, entry in named.items():
                other = owner.setdefault((section, name), f"{FOLDER}/{paper}.yaml")
                if other != f"{FOLDER}/{paper}.yaml":
                    found.append(
                        f"{section}.{name}: also in {FOLDER}/{paper}.yaml; rename the entry in {other}"
                    )
                else:
                    joined[section][name] = entry
        of_paper = {corpus: runs["reproduce"] for corpus, runs in content["corpora"].items()}
        joined["reproduce"][paper] = {**of_paper, **_mapping(joined["reproduce"].get(paper))}
    return {**joined, "papers": dict(papers)}, found


def with_corpus(content: dict[str, Any]) -> dict[str, Any]:
    """Write the name of the corpus into each experiment of a paper's file, which names it once for all of them."""
    for corpus, runs in _mapping(content.get("corpora")).items():
        for entry in _mapping(_mapping(runs).get("experiments")).values():
            if isinstance(entry, dict):
                entry.setdefault("corpus", corpus)
    return content


def file_of(params: Params, section: Section, name: str) -> Path | None:
    """Return the paper's file that defines an entry; None if params.yaml defines it."""
    found = (p for p, paper in params.papers.items() if name in _named(paper.model_dump())[section])
    return next((FOLDER / f"{paper}.yaml" for paper in found), None)


def _named(content: Mapping[str, Any]) -> dict[Section, dict[str, Any]]:
    experiments = [_mapping(runs.get("experiments")) for runs in content["corpora"].values()]
    return {
        "features": _mapping(content.get("features")),
        "pretrain": _mapping(content.get("pretrain")),
        "experiments": {name: entry for one in experiments for name, entry in one.items()},
    }


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
