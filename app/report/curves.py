"""Learning curves for the report: thin lines for seeds, a thick line for their mean, a band of one standard deviation.

`curves.html.j2` draws the panels. The style sheet gives the colours, so that a drawing fits both the light and the dark
page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from app.report.runs import Curves, Run, read_curves
from ercache.training.selection import SCORE
from ercache.wording import count_noun

MARGIN: Final = 0.05  # room above and below the curves, as a share of their range
Kind = Literal["train", "validation"]
Series = NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: its position in the drawing, and the number written beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Shape:
    """A line or an area in a drawing of learning curves.

    Attributes:
        points: coordinates `x,y` of the corner points, separated by blanks, as SVG needs them.
        kind: names of CSS classes, which decide the colour and the width of the line.
    """

    points: str
    kind: str


@dataclass(frozen=True)
class Ring:
    """A small circle on the curve of one seed. It marks the best epoch of that seed."""

    x: float
    y: float
    kind: Kind


@dataclass
class Panel:
    """A drawing of learning curves over epochs.

    Attributes:
        label: text of the vertical axis.
        epochs: first and last epoch of the horizontal axis.
        values: lowest and highest value of the vertical axis.
        bands: areas of one standard deviation around the mean.
        lines: curves of the seeds, and their means.
        rings: marks of the best epochs.
        width, height: size of the drawing in SVG units.
        left, right, top, bottom: edges of the area in which the curves are drawn.
    """

    width: ClassVar = 240
    height: ClassVar = 168
    left: ClassVar = 48
    right: ClassVar = 234
    top: ClassVar = 6
    bottom: ClassVar = 132

    label: str
    epochs: tuple[float, float]
    values: tuple[float, float]
    bands: list[Shape] = field(default_factory=list)
    lines: list[Shape] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)

    @property
    def x_ticks(self) -> list[Tick]:
        """Positions and texts of the ticks on the horizontal axis, at whole epochs."""
        return [Tick(_px(self.x(e)), f"{e:g}") for e in _ticks(self.epochs, integer=True)]

    @property
    def y_ticks(self) -> list[Tick]:
        """Positions and texts of the ticks on the vertical axis, at round values."""
        return [Tick(_px(self.y(v)), f"{v:g}") for v in _ticks(self.values, integer=False)]

    def x(self, epoch: float) -> float:
        """Horizontal position of an epoch in the drawing, from the left edge."""
        low, high = self.epochs
        return self.left + (self.right - self.left) * (epoch - low) / (high - low)

    def y(self, value: float) -> float:
        """Vertical position of a value in the drawing, from the upper edge: in an SVG, larger positions are lower."""
        low, high = self.values
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def points(self, epochs: Series, values: Series) -> str:
        """Return the positions of a curve's points as a text `x,y x,y ...`. Values that are not finite are left out.

        Args:
            epochs: epoch of each point.
            values: value of the curve at each epoch.
        """
        pairs = zip(epochs.tolist(), values.tolist(), strict=True)
        return " ".join(f"{_px(self.x(e))},{_px(self.y(v))}" for e, v in pairs if np.isfinite(v))


@dataclass(frozen=True)
class CurveView:
    """Learning curves of a run.

    Attributes:
        score: drawing of the validation score.
        loss: drawing of the train loss and the validation loss.
        summary: a sentence with the numbers of seeds and epochs and the best epochs.
    """

    experiment: str
    score: Panel
    loss: Panel
    summary: str


def curve_views(runs: Sequence[Run]) -> list[CurveView]:
    """Draw the learning curves of all runs that store them. All drawings of scores have the same axis range."""
    found = [(run, curves) for run in runs if (curves := read_curves(run.folder))]
    scores = _range([_column(c, SCORE, 100) for _, c in found])
    views: list[CurveView] = []
    for run, curves in found:
        trainings = range(len(run.record.epochs)) if run.record.folds else run.record.seeds
        best = dict(zip(trainings, run.record.epochs, strict=False))
        train, validation = _column(curves, "train_loss"), _column(curves, "validation_loss")
        epochs = _epochs(curves)
        score = Panel("weighted F1 (%)", epochs, scores)
        _draw(score, curves, _column(curves, SCORE, 100), "validation", best)
        loss = Panel("loss", epochs, _range([train, validation]))
        _draw(loss, curves, train, "train", {})
        _draw(loss, curves, validation, "validation", best)
        views.append(CurveView(run.record.experiment, score, loss, _summary(run, curves)))
    return views


def _summary(run: Run, curves: Curves) -> str:
    length = [max(map(len, columns.values()), default=0) for columns in curves.values()]
    best = ", ".join(map(str, run.record.epochs)) or "unknown"
    what = count_noun(len(curves), "training run" if run.record.folds else "seed")
    if run.record.folds:
        what += f" of {count_noun(len(run.record.folds), 'fold')}"
    first = f"{min(length)} to " if min(length) < max(length) else ""
    chosen = f"best epoch{'s' * (len(run.record.epochs) > 1)} {best}"
    return f"{what}, {first}{count_noun(max(length), 'epoch')}; {chosen}."


def _draw(
    panel: Panel, curves: Curves, values: Mapping[int, Series], kind: Kind, best: Mapping[int, int]
) -> None:
    """Add the curves of one score or loss to a drawing: one line per seed, mean, band, and rings at the best epochs."""
    if not values:
        return
    epochs = {seed: _epochs_of(curves, seed, len(y)) for seed, y in values.items()}
    panel.lines += [Shape(panel.points(epochs[seed], y), f"seed {kind}") for seed, y in values.items()]
    # The mean ends at the first early stop; after it, it would be over the remaining seeds only.
    shared = min(map(len, values.values()))
    rows = np.stack([y[:shared] for y in values.values()])
    x, mean, deviation = next(iter(epochs.values()))[:shared], rows.mean(axis=0), rows.std(axis=0)
    outline = panel.points(
        np.concatenate([x, x[::-1]]), np.concatenate([mean - deviation, (mean + deviation)[::-1]])
    )
    panel.bands.append(Shape(outline, kind))
    panel.lines.append(Shape(panel.points(x, mean), f"mean {kind}"))
    for seed, epoch in best.items():
        for i in np.flatnonzero(epochs[seed] == epoch) if seed in values else ():
            if np.isfinite(values[seed][i]):
                panel.rings.append(Ring(_px(panel.x(epoch)), _px(panel.y(float(values[seed][i]))), kind))


def _column(curves: Curves, name: str, scale: float = 1.0) -> dict[int, Series]:
    """Look up the values of one score or loss.

    Returns:
        A dictionary from seed to values over the epochs. Seeds without values are left out.
    """
    return {n: scale * np.array(columns[name]) for n, columns in sorted(curves.items()) if columns.get(name)}


def _epochs_of(curves: Curves, seed: int, count: int) -> Series:
    return np.array(curves[seed].get("epoch") or range(count), dtype=np.float64)[:count]


def _epochs(curves: Curves) -> tuple[float, float]:
    found = np.concatenate([_epochs_of(curves, n, max(map(len, c.values()))) for n, c in curves.items()])
    low, high = float(found.min(initial=0)), float(found.max(initial=1))
    return low, max(high, low + 1)


def _range(columns: Sequence[Mapping[int, Series]]) -> tuple[float, float]:
    """Find the lowest and highest finite value of all curves, and add a margin. Without any value, return 0 and 1."""
    values = np.concatenate([np.empty(0), *(y for column in columns for y in column.values())])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(limits: tuple[float, float], *, integer: bool) -> list[float]:
    found = MaxNLocator(nbins=5, integer=integer, steps=[1, 2, 5, 10]).tick_values(*limits)
    return [float(tick) for tick in found if limits[0] <= tick <= limits[1]]


def _px(value: float) -> float:
    """Round a position in the drawing to two decimals, more than a screen can show."""
    return round(value, 2)
