"""Faces between detections move in straight lines, and whoever cannot be followed is detected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.faces.tracking import interpolate_faces, iou_matrix
from extract.media.types import Faces
from extract.media.video import grid

Box = tuple[float, float, float, float]


def faces(*boxes: Box, probabilities: tuple[float, ...] = ()) -> Faces:
    """Faces whose five points all lie on the upper left corner."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    chances = np.array(probabilities or np.linspace(1, 0.9, len(corners)), np.float32)
    return Faces(corners, chances, np.repeat(corners[:, None, :2], 5, axis=1))


LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)


def at(instant: float, first: Faces, second: Faces) -> Faces | None:
    return interpolate_faces([1.0, 2.0], [first, second], np.array([instant]))[0]


def test_a_face_in_linear_motion_is_followed_exactly() -> None:
    first, second = faces((0, 0, 20, 20), probabilities=(1.0,)), faces((4, 2, 24, 24), probabilities=(0.5,))
    row = at(1.25, first, second)
    assert row is not None
    assert row.boxes.tolist() == [[1, 0.5, 21, 21]]
    assert row.points.tolist() == [[[1, 0.5]] * 5]
    assert row.probabilities.tolist() == [0.875]
    assert row.boxes.dtype == row.points.dtype == row.probabilities.dtype == np.float32


def test_faces_are_paired_by_overlap_and_not_by_rank() -> None:
    first = faces(LEFT, RIGHT, probabilities=(1.0, 0.5))
    second = faces((52, 0, 62, 10), (2, 0, 12, 10), probabilities=(1.0, 0.75))
    row = at(1.5, first, second)
    assert row is not None
    assert row.boxes.tolist() == [[1, 0, 11, 10], [51, 0, 61, 10]]
    assert row.probabilities.tolist() == [0.875, 0.75]


def test_rows_stand_by_falling_probability() -> None:
    first, second = faces(LEFT, RIGHT, probabilities=(0.9, 0.8)), faces(RIGHT, LEFT, probabilities=(1.0, 0.5))
    early, late = at(1.1, first, second), at(1.9, first, second)
    assert early is not None and early.boxes[0].tolist() == list(LEFT)
    assert late is not None and late.boxes[0].tolist() == list(RIGHT)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (faces(LEFT), faces(LEFT, RIGHT)),  # appears
        (faces(LEFT, RIGHT), faces(RIGHT)),  # leaves
        (faces(), faces(LEFT)),
        (faces(LEFT), faces(RIGHT)),  # a cut: another face elsewhere
        (faces(LEFT), faces((5, 0, 15, 10))),  # too far: IoU 1/3
        (faces(LEFT, (2, 0, 12, 10)), faces((1, 0, 11, 10), RIGHT)),  # two for one
        (faces(LEFT, (2, 0, 12, 10)), faces((2, 0, 12, 10), LEFT)),  # they cross: either may be either
    ],
)
def test_faces_that_do_not_belong_together_one_to_one_are_detected(first: Faces, second: Faces) -> None:
    assert at(1.5, first, second) is None
    assert at(1.0, first, second) is first and at(2.0, first, second) is second


def test_no_face_on_both_sides_is_no_face_between() -> None:
    row = at(1.5, faces(), faces())
    assert row is not None
    assert row.boxes.shape == (0, 4) and row.probabilities.shape == (0,) and row.points.shape == (0, 5, 2)


def test_instants_outside_of_the_grid_are_detected_and_those_on_it_take_their_detection() -> None:
    first, second = faces(LEFT), faces(LEFT)
    rows = interpolate_faces([1.0, 2.0], [first, second], np.array([0.9, 1 - 1e-9, 2 + 1e-9, 2.1, 1.5]))
    assert rows[0] is None and rows[1] is first and rows[2] is second and rows[3] is None
    assert rows[4] is not None
    assert interpolate_faces([], [], np.array([0.0])) == [None]


@given(st.lists(st.floats(0, 5), max_size=8), st.lists(st.floats(0, 5), max_size=8))
def test_an_instant_does_not_depend_on_the_others(some: list[float], others: list[float]) -> None:
    times = grid(0, 5, 0.5)
    rows = [faces((t, 0, t + 20, 20)) for t in times]
    alone = interpolate_faces(times, rows, np.array(some))
    together = interpolate_faces(times, rows, np.array(others + some))[len(others) :]
    for a, b, instant in zip(alone, together, some, strict=True):
        assert (a is None) == (b is None) == (not times[0] - 1e-6 <= instant <= times[-1] + 1e-6)
        if a is not None and b is not None:
            assert a.boxes.tobytes() == b.boxes.tobytes()
            assert a.boxes[0, 0] == pytest.approx(instant, abs=1e-5)


def test_grid_lies_at_the_centres_of_equal_steps() -> None:
    assert grid(1, 2, 0.25).tolist() == [1.125, 1.375, 1.625, 1.875]
    assert grid(1, 1.9, 0.25).tolist() == [1.125, 1.375, 1.625, 1.875]
    assert grid(1, 1.87, 0.25).tolist() == [1.125, 1.375, 1.625]


def test_a_stretch_shorter_than_half_a_step_has_its_middle() -> None:
    assert grid(1, 1.25, 0.6).tolist() == [1.125]
    assert grid(3, 3, 0.5).tolist() == [3]


@given(st.floats(0, 1e4), st.floats(0, 60), st.floats(0.02, 10))
def test_grid_stays_in_its_stretch(start: float, length: float, every: float) -> None:
    times = grid(start, start + length, every)
    assert len(times) >= 1 and (np.diff(times) > 0).all()
    assert times[0] >= start and times[-1] <= start + length + 1e-4


@pytest.mark.parametrize(("start", "end", "every"), [(1, 0.5, 0.1), (0, 1, 0), (0, 1, -1)])
def test_an_impossible_grid_is_refused(start: float, end: float, every: float) -> None:
    with pytest.raises(ValueError, match="no grid"):
        grid(start, end, every)


def test_overlap_of_literal_boxes() -> None:
    boxes = np.array([LEFT, (5, 0, 15, 10), RIGHT], np.float32)
    assert iou_matrix(boxes[:1], boxes).tolist() == [[1, pytest.approx(1 / 3), 0]]
    assert iou_matrix(np.zeros((1, 4), np.float32), boxes).tolist() == [[0, 0, 0]]
