"""Critical difference plot: systems on an axis of mean ranks. Bars join systems that do not differ significantly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusion.evaluation.ranking import Ranking

INK: Final = "#1f2933"
MUTED: Final = "#7b8794"
PALE: Final = "#e4e7eb"
ACCENT: Final = "#0072b2"  # colour of the models of papers; the others are baselines
ROW: Final = 0.30  # height of a row, inches
CD_ROW: Final = -1.1  # position of the critical difference, above the first system
TICK: Final = (CD_ROW - 0.18, CD_ROW + 0.18)
KEY: Final = (
    "blue: models of papers, which differ from the papers' systems (see the table)\n"
    "a bar joins systems whose ranks differ by less than the critical difference"
)
GAP: Final = 0.22  # ranks between two bars
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
}


def draw_ranking(
    path: Path, found: Ranking, scores: Mapping[str, str], published: frozenset[str], title: str
) -> None:
    """Draw a ranking as a critical difference plot and write it as PNG. The same ranking gives the same bytes.

    Args:
        path: file to write.
        found: the ranking: names of the systems, their mean ranks, and the critical difference.
        scores: name of a system -> text with its score, which is written beside it.
        published: names of the systems whose model comes from a paper; they are drawn in another colour.
        title: title of the picture.
    """
    count = len(found.names)
    right = count + 0.5 + GAP * (len(found.groups) + 0.5)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.8 + ROW * count), layout="constrained")
        axes = figure.add_subplot()
        _axis(axes, found)
        for row, (name, rank) in enumerate(zip(found.names, found.ranks, strict=True)):
            colour = ACCENT if name in published else INK
            axes.plot([0.5, rank], [row, row], color=PALE, linewidth=1, zorder=1)
            axes.plot(rank, row, "o", color=colour, markersize=7, zorder=3)
            axes.annotate(
                f"{rank:.2f}", (rank, row), (8, 0), textcoords="offset points", va="center", color=MUTED, fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=2,
            )  # fmt: skip
            axes.text(0.4, row, name, ha="right", va="center", color=colour)
            axes.text(right, row, scores[name], ha="left", va="center", color=MUTED, fontsize=9)
        _joined(axes, found)
        _difference(axes, found)
        axes.text(right, CD_ROW, "weighted F1", ha="left", va="center", color=MUTED, fontsize=9)
        axes.set_title(title, loc="left", fontsize=11, pad=12)
        figure.supxlabel(KEY, fontsize=8.5, color=MUTED, x=0.5)
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})


def _axis(axes: Axes, found: Ranking) -> None:
    count = len(found.names)
    axes.set_xlim(0.5, count + 0.3)
    axes.set_ylim(count - 0.4, -1.9)  # the best on top, below the length of the critical difference
    axes.set_xticks(range(1, count + 1))
    axes.xaxis.tick_top()
    axes.tick_params(length=3)
    axes.set_yticks([])
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _joined(axes: Axes, found: Ranking) -> None:
    """Draw a vertical bar beside each group of systems that do not differ significantly."""
    right = len(found.names) + 0.5
    for place, (first, last) in enumerate(found.groups):
        x = right + GAP * place
        axes.plot(
            [x, x],
            [first - 0.22, last + 0.22],
            color=INK,
            linewidth=3.5,
            solid_capstyle="round",
            clip_on=False,
        )


def _difference(axes: Axes, found: Ranking) -> None:
    """Draw a horizontal line as long as the critical difference, on the scale of the rank axis."""
    end = 1 + found.difference
    axes.plot([1, end], [CD_ROW, CD_ROW], color=INK, linewidth=1.5)
    for x in (1, end):
        axes.plot([x, x], list(TICK), color=INK, linewidth=1.5)
    axes.annotate(
        f"critical difference {found.difference:.2f}", (end, CD_ROW), (8, 0), textcoords="offset points",
        va="center", fontsize=9,
    )  # fmt: skip
