"""Which pictures a rule chooses: the examples of the papers' pages, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.manifest import MediaRef
from extract.media.types import PictureRequest
from extract.media.video import complete_keyframes, instants, pick_evenly

WHOLE = MediaRef("clip.mp4")


def at(
    kind: PictureRequest, times: list[float], keys: list[float] | None = None, ref: MediaRef = WHOLE
) -> list[float]:
    return instants(kind, np.array(times), np.array(keys or []), ref, 60.0).tolist()


def thirty(count: int) -> list[float]:
    return [n / 30 for n in range(count)]


def test_the_middle_run_starts_at_half_of_what_is_left() -> None:
    assert at(PictureRequest(15, rule="middle"), list(range(40))) == list(range(12, 27))
    assert at(PictureRequest(15, rule="middle"), list(range(10))) == list(range(10))
    assert at(PictureRequest(15, rule="first"), list(range(40))) == list(range(15))


def test_a_run_of_a_stretch_stays_inside_it() -> None:
    ref = MediaRef("clip.mp4", start=5.0, end=12.0)
    assert at(PictureRequest(3, rule="middle"), list(range(40)), ref=ref) == [7, 8, 9]


def test_avtca_takes_15_of_the_108_places_of_its_window() -> None:
    found = at(PictureRequest(15, window=3.6), thirty(150))  # 5 s: the window begins at 0.7 s
    places = [3, 10, 17, 24, 31, 39, 46, 53, 60, 67, 75, 82, 89, 96, 103]
    np.testing.assert_allclose(found, [0.7 + (k + 0.5) / 30 for k in places])


def test_pictures_beyond_the_end_of_a_short_clip_are_not_there() -> None:
    found = at(PictureRequest(15, window=3.6), thirty(60))  # 2 s: places 3 to 53
    assert len(found) == 8 and found[-1] == pytest.approx(53.5 / 30)


def test_a_step_with_a_count_is_thinned_evenly() -> None:
    assert len(at(PictureRequest(64, every=0.2), thirty(300))) == 50
    long = at(PictureRequest(64, every=0.2), thirty(1500))
    assert len(long) == 64 and np.diff(long).max() == pytest.approx(0.8)


def test_keys_are_completed_by_the_instants_farthest_from_all_chosen() -> None:
    centres = np.array([0.5, 1.5, 2.5, 3.5])
    assert complete_keyframes(np.array([0.0]), centres, 4).tolist() == [0.0, 1.5, 2.5, 3.5]
    assert complete_keyframes(np.array([]), centres, 2).tolist() == [0.5, 3.5]
    assert complete_keyframes(np.array([1.0, 3.0]), centres, 2).tolist() == [1.0, 3.0]
    assert at(PictureRequest(2, rule="keys"), list(range(8)), keys=[0, 2, 4, 6]) == [0, 6]


def test_keys_of_eight_seconds_are_those_of_the_papers_page() -> None:
    centres = np.array([1.0, 3.0, 5.0, 7.0])
    assert complete_keyframes(np.array([0.0]), centres, 4).tolist() == [0, 3, 5, 7]
    assert complete_keyframes(np.array([]), centres, 4).tolist() == [1, 3, 5, 7]
    assert at(PictureRequest(4, rule="keys"), list(range(8)), keys=list(range(8))) == [0, 2, 5, 7]


@given(st.integers(0, 12), st.integers(1, 8))
def test_keys_always_give_as_many_instants_as_asked_for(keys: int, count: int) -> None:
    centres = (np.arange(count) + 0.5) * 10 / count
    found = complete_keyframes(np.linspace(0, 9.7, keys), centres, count)
    assert len(found) == count and (np.diff(found) >= 0).all()


@given(st.integers(0, 500), st.integers(1, 100))
def test_evenly_keeps_order_and_takes_no_value_twice(length: int, count: int) -> None:
    found = pick_evenly(np.arange(length, dtype=np.float64), count)
    assert len(found) == min(length, count) and (np.diff(found) > 0).all()
