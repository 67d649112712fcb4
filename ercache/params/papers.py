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
    """Join the content of params.yaml with the features, extractors and experiments in the files of the papers.

    Args:
        raw: content of params.yaml, not checked yet.
        papers: dictionary from paper to the content of its file papers/PAPER.yaml, which must be valid.

    Returns:
        Two values: the joined content, and a list with one sentence for each feature, extractor or experiment that is
            defined in two files.
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
    """Write the name of the corpus into each experiment of a paper's file, and return the changed content.

    The file lists its experiments under their corpus, so that they need not name it themselves.
    """
    for corpus, runs in _mapping(content.get("corpora")).items():
        for entry in _mapping(_mapping(runs).get("experiments")).values():
            if isinstance(entry, dict):
                entry.setdefault("corpus", corpus)
    return content


def file_of(params: Params, section: Section, name: str) -> Path | None:
    """Find the file papers/PAPER.yaml that defines an entry. None if no paper does, but params.yaml.

    Args:
        params: content of params.yaml and of all papers.
        section: `features`, `pretrain` or `experiments`.
        name: name of the entry in this section.
    """
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
