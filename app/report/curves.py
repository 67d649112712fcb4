"""Learning curves as inline SVG: thin lines for seeds, a thick line for their mean, a band of one deviation."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from app.report.runs import Curves, Run, read_curves
from ercache.training import SCORE
from ercache.wording import count_noun

# Placeholder colours, replaced by variables of the style sheet, so that a drawing fits the light and the dark page.
_INK, _LINE, _FIRST, _SECOND = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {
    _INK: "var(--muted)",
    _LINE: "var(--line)",
    _FIRST: "var(--series-1)",
    _SECOND: "var(--series-2)",
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ercache",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "path.simplify": True,
}


@dataclass(frozen=True)
class CurveView:
    """Two drawings of a run, validation score and losses; `summary` describes them in words."""

    experiment: str
    score: Markup
    loss: Markup
    summary: str


def curve_views(runs: Sequence[Run]) -> list[CurveView]:
    """Draw the curves of all runs that store them. The scores share one axis range."""
    found = [(run, curves) for run in runs if (curves := read_curves(run.folder))]
    tops = [v for _, c in found for s in c.values() for v in s.get(SCORE, ())]
    limits = (100 * min(tops, default=0.0), 100 * max(tops, default=1.0))
    views: list[CurveView] = []
    for run, curves in found:
        length = [max(map(len, columns.values()), default=0) for columns in curves.values()]
        best = ", ".join(map(str, run.record.epochs)) or "unknown"
        what = count_noun(len(curves), "training" if run.record.folds else "seed")
        if run.record.folds:
            what += f" of {count_noun(len(run.record.folds), 'fold')}"
        first = f"{min(length)} to " if min(length) < max(length) else ""
        chosen = f"best epoch{'s' * (len(run.record.epochs) > 1)} {best}"
        summary = f"{what}, {first}{count_noun(max(length), 'epoch')}; {chosen}."
        views.append(CurveView(run.record.experiment, *_draw(run, curves, limits, f"c{len(views)}"), summary))
    return views


def _draw(run: Run, curves: Curves, limits: tuple[float, float], prefix: str) -> tuple[Markup, Markup]:
    trainings = range(len(run.record.epochs)) if run.record.folds else run.record.seeds
    best = dict(zip(trainings, run.record.epochs, strict=False))
    with matplotlib.rc_context(_STYLE):
        score, axes = _figure("weighted F1 (%)")
        _plot(axes, curves, SCORE, _FIRST, "-", best, scale=100)
        margin = 0.05 * (limits[1] - limits[0]) or 1.0
        axes.set_ylim(limits[0] - margin, limits[1] + margin)
        loss, axes = _figure("loss")
        _plot(axes, curves, "train_loss", _SECOND, "--", {})
        _plot(axes, curves, "validation_loss", _FIRST, "-", best)
        return _svg(score, f"{prefix}s"), _svg(loss, f"{prefix}l")


def _figure(label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.3, 2.3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.tick_params(length=0)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return figure, axes


def _plot(
    axes: Axes,
    curves: Curves,
    column: str,
    colour: str,
    dashes: str,
    best: dict[int, int],
    scale: float = 1.0,
) -> None:
    seeds = {seed: scale * np.array(c[column]) for seed, c in sorted(curves.items()) if c.get(column)}
    if not seeds:
        return
    epochs = {seed: np.array(curves[seed].get("epoch") or np.arange(len(y))) for seed, y in seeds.items()}
    for seed, y in seeds.items():
        axes.plot(epochs[seed], y, color=colour, linestyle=dashes, linewidth=0.8, alpha=0.35)
    # The mean ends at the first early stop; after it, it would be over the remaining seeds only.
    shared = min(map(len, seeds.values()))
    rows = np.stack([y[:shared] for y in seeds.values()])
    x, mean, band = next(iter(epochs.values()))[:shared], rows.mean(axis=0), rows.std(axis=0)
    axes.fill_between(x, mean - band, mean + band, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, mean, color=colour, linestyle=dashes, linewidth=2.0)
    for seed, epoch in best.items():
        at = np.flatnonzero(epochs[seed] == epoch) if seed in seeds else ()
        for i in at:
            axes.plot(epoch, seeds[seed][i], "o", color=colour, markersize=5, markerfacecolor="none")


def _svg(figure: Figure, prefix: str) -> Markup:
    """Turn a figure into an SVG element with unique ids and the colours of the page."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1
    )
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font: [^;\"]*'DejaVu Sans'[^;\"]*", "font-size: 10px", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return Markup(re.sub(r">\s+<", "><", text).strip())
