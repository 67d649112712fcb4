"""Crops of faces: which one, how square, how wide, how rounded; and the alignment of JAA-Net."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.encoders.base import Sample
from extract.encoders.visual.cropping import (
    choose_box,
    crop_face,
    crop_rounded,
    crop_truncated,
    enlarge_to_square,
    largest_faces,
)
from extract.encoders.visual.jaa_align import align_crop, alignment_matrix, to_picture
from extract.media.types import Frame
from tests.support.tiny_visual import found

NUMBERED = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)
POINTS = np.array([(80, 100), (120, 100), (100, 120), (85, 140), (115, 140)], np.float32)


def box(*corners: float) -> np.ndarray:
    return np.array(corners, np.float32)


def test_the_square_is_of_the_longer_side_and_keeps_the_centre() -> None:
    assert enlarge_to_square(box(10, 20, 30, 60), 0.2).tolist() == [-4, 16, 44, 64]
    assert enlarge_to_square(box(10, 20, 30, 60), 0).tolist() == [0, 20, 40, 60]


def test_corners_are_widened_rounded_or_cut_to_whole_pixels() -> None:
    corners = box(10.6, 20.4, 30.6, 40.4)
    for crop, expected in (
        (crop_face(NUMBERED, corners, 0), NUMBERED[20:41, 10:31]),
        (crop_rounded(NUMBERED, corners), NUMBERED[20:40, 11:31]),
        (crop_truncated(NUMBERED, corners), NUMBERED[20:40, 10:30]),
        (crop_face(NUMBERED, box(10, 20, 20, 30), 0.5), NUMBERED[15:35, 5:25]),
    ):
        assert crop is not None
        np.testing.assert_array_equal(crop, expected)


@given(st.lists(st.floats(-500, 500, width=32), min_size=4, max_size=4), st.floats(0, 2))
def test_a_crop_lies_in_its_picture_or_is_none(corners: list[float], margin: float) -> None:
    for crop in (
        crop_face(NUMBERED, box(*corners), margin),
        crop_rounded(NUMBERED, box(*corners)),
        crop_truncated(NUMBERED, box(*corners)),
    ):
        assert crop is None or (4 <= crop.shape[0] <= 100 and 4 <= crop.shape[1] <= 120)


def test_the_largest_face_is_cut_and_pictures_without_are_left_out() -> None:
    faces = found((0, 0, 10, 10), (20, 20, 60, 60))
    frames = (Frame(0, NUMBERED, found()), Frame(1, NUMBERED, faces), Frame(2, NUMBERED))
    crops = largest_faces(Sample(frames=frames), crop_rounded)
    assert [(crop.position, crop.box.tolist()) for crop in crops] == [(1, [20, 20, 60, 60])]
    assert crops[0].image.shape == (40, 40, 3)
    assert choose_box(faces, "most_probable").tolist() == [0, 0, 10, 10]  # type: ignore[union-attr]


def test_alignment_puts_the_points_where_the_papers_page_says() -> None:
    matrix = alignment_matrix(POINTS)
    assert matrix is not None
    there = POINTS @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(there[0], [53.190, 53.190], atol=1e-3)
    np.testing.assert_allclose(there[2], [87.5, 87.5], atol=1e-3)
    assert matrix[0, 0] == pytest.approx(1.715517, abs=1e-6)  # 199 / 2 / 58
    np.testing.assert_allclose(to_picture(there, matrix), POINTS, atol=1e-9)


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-50, 50))
def test_alignment_undoes_rotation_scale_and_shift(angle: float, scale: float, shift: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = scale * POINTS.astype(np.float64) @ turn.T + shift
    plain, other = alignment_matrix(POINTS), alignment_matrix(moved)  # type: ignore[arg-type]
    assert plain is not None and other is not None
    np.testing.assert_allclose(
        moved @ other[:, :2].T + other[:, 2], POINTS @ plain[:, :2].T + plain[:, 2], atol=1e-6
    )


def test_aligned_pixels_are_those_of_the_picture_and_grey_beyond_it() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3)).copy()
    matrix = np.array([[2.0, 0, 10], [0, 2.0, 10]])  # crop = 2 x picture + 10
    crop = align_crop(ramp, matrix)
    assert crop.shape == (176, 176, 3) and crop.dtype == np.uint8
    assert crop[50, 110].tolist() == [50] * 3 and crop[50, 112].tolist() == [51] * 3
    assert crop[0, 0].tolist() == [128] * 3
    shifted = align_crop(ramp, np.array([[1.0, 0, 0.5], [0, 1.0, 0]]))
    assert shifted[10, 21].tolist() == [20] * 3  # halfway between 20 and 21, to even


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_points_that_span_nothing_align_nothing(points: np.ndarray) -> None:
    assert alignment_matrix(points.astype(np.float32)) is None
