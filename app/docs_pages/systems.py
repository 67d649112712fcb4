"""Generate docs/systems.md: tables that compare the trained systems, and pictures of their ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.docs_pages.ablations import ablations_text
from app.docs_pages.critical_difference import draw_ranking
from app.docs_pages.tables import line, write_table
from app.systems import (
    System,
    against_reference,
    against_single,
    comparable_groups,
    rank_models,
    reference_of,
)
from ercache.params.schema import Params
from ercache.wording import count_noun
from fusion.evaluation.ranking import LEVEL, Ranking
from fusion.papers import papers
from fusion.papers.deviations import in_short, recorded_deviations
from fusion.search.log import read_searches
from fusion.search.sweep import apply_values

BEGIN: Final = "<!-- `ercache systems --write docs/systems.md` makes these tables -->"
END: Final = "<!-- end of the tables -->"
SCORES: Final = ("accuracy", "macro_f1", "uar")
DIFFERS: Final = "differs from its paper in"
SMALLEST: Final = 0.001  # smaller p values are written as `< 0.001`


@dataclass(frozen=True)
class SystemsSection:
    """Content of one section of docs/systems.md: comparisons of a group of trained systems.

    Attributes:
        group: the systems; corpus, task, label set and split are equal.
        models: comparison of each model with a reference model, from `against_reference`.
        singles: comparison of each single modality with all modalities, from `against_single`.
        ranking: ranking of the models; None if there are fewer than two.
    """

    group: list[System]
    models: list[dict[str, Any]]
    singles: list[dict[str, Any]]
    ranking: Ranking | None


def sections(systems: Sequence[System]) -> list[SystemsSection]:
    """Compare the systems (takes seconds), and return one `SystemsSection` per group of comparable systems."""
    return [
        SystemsSection(g, against_reference(g), against_single(g), rank_models(g))
        for g in comparable_groups(systems)
    ]


def tables_text(parts: Sequence[SystemsSection], params: Params, sweeps: Path, stem: str) -> str:
    """Make the text of all tables of docs/systems.md in Markdown, with links to the pictures.

    Args:
        parts: the sections of the page.
        params: contents of params.yaml.
        sweeps: folder with the logs of the hyper-parameter searches. The logs of `ercache sweep --readings` lie in
            another folder beside it.
        stem: beginning of the file names of the pictures.
    """
    found = []
    for part in parts:
        group = part.group
        corpus, task, label_set, split = group[0].place
        features = sorted({f for s in group for f in s.entry.feature_names})
        found.append(f"## {corpus}: {task}, {label_set}, split {split} ({', '.join(features)})")
        found.append(_reference_table(part.models, reference_of(group)))
        if part.ranking is not None:
            found.append(f"![Systems by mean rank]({_picture(stem, group)})\n\n{_ranking_text(part.ranking)}")
        if part.singles:
            found.append(_single_table(part.singles))
        found.append(_search_table(group, params, sweeps))
    deviations = {s.name: recorded_deviations(s.run) for part in parts for s in part.group}
    return "\n\n".join([*found, *ablations_text(params, sweeps.parent, deviations)])


def _reference_table(rows: Sequence[dict[str, Any]], reference: str) -> str:
    head = (
        "system", "modalities", "parameters", "seeds", "weighted F1 (std)", "95 % interval", "accuracy", "macro F1",
        "UAR", f"minus {reference}", "95 % interval", "p", "p McNemar", DIFFERS,
    )  # fmt: skip
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        lines.append(
            line((
                f"`{row['system']}`", ", ".join(row["modalities"]), f"{row['parameters']:,}", str(row["seeds"]),
                *_score(row), *(f"{row['test'][m]['mean']:.3f}" for m in SCORES), *_compared(row), _differs(row),
            ))
        )  # fmt: skip
    return "\n".join([*lines, *_remarks([*_stand_ins(rows), *_marks(rows)])])


def _single_table(rows: Sequence[dict[str, Any]]) -> str:
    head = (
        "system", "modality", "weighted F1 (std)", "95 % interval", "all modalities", "minus this one",
        "95 % interval", "p", "p McNemar", "all are better", DIFFERS,
    )  # fmt: skip
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        lines.append(
            line((
                f"`{row['system']}`", row["modalities"][0], *_score(row), f"`{row['full']}`", *_compared(row),
                "yes" if row["better"] else "no", _differs(row),
            ))
        )  # fmt: skip
    return "\n".join([*lines, *_remarks(_marks(rows))])


def _search_table(group: Sequence[System], params: Params, sweeps: Path) -> str:
    """Make the Markdown table of the hyper-parameter searches: tried configurations and the best one of each system."""
    head = ("system", "configurations tried", "best on validation", "frozen")
    rows = [_searched(system, params, sweeps / f"{system.name}.csv") for system in group]
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def _searched(system: System, params: Params, log: Path) -> tuple[str, str, str, str]:
    name, tried = f"`{system.name}`", list(read_searches(log).values())
    if not tried:
        return name, "0", "", "defaults"
    best = max(tried[-1], key=lambda t: (t.mean, -t.number))
    frozen = apply_values(system.entry, best.config) == system.entry
    chosen = ", ".join(f"{path.partition('.')[2]} {value}" for path, value in best.config.items())
    return name, str(len(tried[-1])), f"{best.mean:.3f}", chosen if frozen else "another one than the best"


def _score(row: Mapping[str, Any]) -> tuple[str, str]:
    f1 = row["test"]["weighted_f1"]
    return f"{f1['mean']:.3f} ({f1['std']:.3f})", _interval(f1["ci95"], "")


def _compared(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if "p" not in row:
        return "", "", "", ""
    return f"{row['difference']:+.3f}", _interval(row["ci95"], "+"), _p(row["p"]), _p(row["p_mcnemar"])


def _interval(ends: Sequence[float], sign: str) -> str:
    return " to ".join(f"{end:{sign}.3f}" for end in ends)


def _p(value: float) -> str:
    return "< 0.001" if value < SMALLEST else f"{value:.3f}"


def _marks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the warnings about the scores in the tables, such as random weights, each with the name of its system."""
    return [f"`{row['system']}`: {mark}" for row in rows for mark in row["marks"]]


def _stand_ins(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each system that differs from its model's paper, with the first two points in words.

    Args:
        rows: rows of the table of models.
    """
    return [
        f"`{row['system']}` is the model of [its paper](papers/{row['model']}.md), not the paper's system: "
        f"{in_short(row['deviations'])}"
        for row in rows
        if row["deviations"]
    ]


def _differs(row: Mapping[str, Any]) -> str:
    """Say in how many points a system differs from its model's paper, such as `3 points`; "" if there is no paper."""
    found = row["deviations"]
    if found is None:
        return ""
    return count_noun(len(found), "point") if found else "nothing"


def _remarks(sentences: Sequence[str]) -> list[str]:
    """Return the lines of a Markdown list with these sentences, for the place below a table."""
    return ["", *(f"- {sentence}" for sentence in sentences)] if sentences else []


def _ranking_text(found: Ranking) -> str:
    """Describe the ranks and the critical difference in words, for readers who cannot see the picture."""
    alike = f"Friedman's test that all are alike: p {_equal(found.p)}; c" if len(found.names) > 2 else "C"
    order = ", ".join(f"`{n}` {r:.2f}" for n, r in zip(found.names, found.ranks, strict=True))
    return (
        f"Mean ranks over {found.dialogues} dialogues: {order}. {alike}ritical difference (Nemenyi, "
        f"{100 * LEVEL:.0f} %): {found.difference:.2f}."
    )


def _equal(p: float) -> str:
    return _p(p) if p < SMALLEST else f"= {_p(p)}"


def _draw(path: Path, part: SystemsSection, ranking: Ranking) -> None:
    scores = {row["system"]: _score(row)[0] for row in part.models}
    published = frozenset(s.name for s in part.group if s.entry.model in papers())
    corpus, task, *_ = part.group[0].place
    title = f"{corpus}, {task}: mean rank of the weighted F1 in {ranking.dialogues} test dialogues"
    draw_ranking(path, ranking, scores, published, title)


def _picture(stem: str, group: Sequence[System]) -> str:
    return "-".join([stem, *group[0].place]).replace("/", "-") + ".png"


def write_page(path: Path, systems: Sequence[System], params: Params, sweeps: Path) -> bool:
    """Replace the generated tables in a Markdown file and the pictures beside it. Return whether the file changed."""
    parts = sections(systems)
    for part in parts:
        if part.ranking is not None:
            _draw(path.with_name(_picture(path.stem, part.group)), part, part.ranking)
    return write_table(path, tables_text(parts, params, sweeps, path.stem), BEGIN, END)
