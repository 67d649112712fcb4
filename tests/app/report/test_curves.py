"""Drawings of learning curves: places of points and ticks, where means end, values that are not finite."""

import numpy as np
import pytest

from app.report.curves import Panel, _draw, _range


@pytest.fixture
def panel() -> Panel:
    return Panel("loss", epochs=(0.0, 10.0), values=(0.0, 2.0))


def test_the_corners_of_the_axes_are_the_ends_of_the_ranges(panel: Panel) -> None:
    assert (panel.x(0), panel.x(10)) == (Panel.left, Panel.right)
    assert (panel.y(0), panel.y(2)) == (Panel.bottom, Panel.top)


def test_ticks_are_round_and_inside_the_ranges(panel: Panel) -> None:
    assert [tick.text for tick in panel.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert [tick.text for tick in panel.y_ticks] == ["0", "0.5", "1", "1.5", "2"]


def test_the_mean_ends_where_the_first_seed_stops_and_rings_mark_the_best_epochs(panel: Panel) -> None:
    curves = {3: {"epoch": [1.0, 2, 3], "loss": [1.0, 0.5, 0.4]}, 5: {"epoch": [1.0, 2], "loss": [2.0, 1.5]}}
    values = {seed: np.array(columns["loss"]) for seed, columns in curves.items()}
    _draw(panel, curves, values, "validation", {3: 3, 5: 2})
    seeds, means = panel.lines[:2], panel.lines[2:]
    assert [len(line.points.split()) for line in seeds] == [3, 2]
    assert [line.points for line in means] == [panel.points(np.array([1.0, 2]), np.array([1.5, 1.0]))]
    assert [(ring.x, ring.y) for ring in panel.rings] == [
        (round(panel.x(3), 2), round(panel.y(0.4), 2)),
        (round(panel.x(2), 2), round(panel.y(1.5), 2)),
    ]


def test_values_that_are_not_finite_are_left_out(panel: Panel) -> None:
    assert len(panel.points(np.arange(3.0), np.array([1.0, np.nan, 1.5])).split()) == 2
    assert _range([{0: np.array([np.nan, np.inf])}]) == (0.0, 1.0)
    low, high = _range([{0: np.array([1.0, np.nan])}, {0: np.array([3.0])}])
    assert low < 1 and high > 3
