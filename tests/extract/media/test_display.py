"""A picture is displayed where its decoding time allows it, and no two pictures at one time."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extract.media.display import NO_TIME, apart, display_shift

Ticks = NDArray[np.int64]
TICK, PERIOD = 0.001, 100  # seconds; ticks from one picture to the next
GROUP = (0, 3, 1, 2)  # order of display of a picture, of the one after its two B-pictures, and of these


def decoding_times(pts: Ticks, delay: int = 1) -> Ticks:
    """Decoding times as encoders state them: each picture is decoded `delay` pictures before its turn."""
    before = pts.min() - PERIOD * np.arange(delay, 0, -1)
    return np.concatenate([before, np.sort(pts)])[: len(pts)]


def stream(groups: int) -> tuple[Ticks, Ticks]:
    """Display and decoding times in ticks of pictures, each third of which is decoded before the two before it."""
    order = [0, *(3 * n + k for n in range(groups) for k in GROUP[1:])]
    pts = PERIOD * np.array(order)
    return pts, decoding_times(pts)


def mended(
    pts: Ticks,
    dts: Ticks,
    shift: NDArray[np.float64] | None = None,
    last: float = np.inf,
    single: bool = False,
) -> Ticks:
    """Corrected display times, in ticks."""
    no_shift = np.zeros(len(pts))
    added = display_shift(
        pts, dts, no_shift if shift is None else shift, TICK, last, np.full(len(pts), single)
    )
    return pts + np.rint(added / TICK).astype(int)


def test_a_sane_stream_is_left_as_it_is() -> None:
    pts, _ = stream(40)
    still = np.where(pts > 5000, pts + 60_000, pts)  # a picture stands still for a minute
    for shown in (pts, still):
        np.testing.assert_array_equal(mended(shown, decoding_times(shown)), shown)
    np.testing.assert_array_equal(mended(pts, np.full(len(pts), NO_TIME)), pts)


def test_a_picture_that_stands_still_before_many_reordered_ones_is_left_as_it_is() -> None:
    """Seven pictures are decoded after the one that ends the still and displayed before it."""
    for still in (10, 300):
        shown = np.concatenate([np.arange(8), still * 10 + np.arange(60)]) * PERIOD
        pts = np.concatenate([[shown[0], shown[8]], shown[1:8], shown[9:]])
        for delay in (1, 8):
            np.testing.assert_array_equal(mended(pts, decoding_times(pts, delay)), pts)


@pytest.mark.parametrize("place", [4, 5, 6, 60, 119])
@pytest.mark.parametrize("leap", [-1456, -100_000, 1 << 40])
def test_a_damaged_display_time_takes_the_place_that_is_free(place: int, leap: int) -> None:
    pts, dts = stream(40)
    damaged = pts.copy()
    damaged[place] += leap
    np.testing.assert_array_equal(mended(damaged, dts), pts)


def test_a_picture_three_seconds_ahead_is_found_in_a_long_stream() -> None:
    pts, dts = stream(40)
    damaged = pts.copy()
    damaged[60] += 6000
    np.testing.assert_array_equal(mended(damaged, dts), pts)


def test_a_damaged_decoding_time_costs_the_display_time_nothing() -> None:
    """The decoding time was mended by -5.8 s, which must not move the display time with it."""
    pts, dts = stream(40)
    shift = np.zeros(len(pts))
    dts[30] += 5800
    shift[30] = -5.8
    np.testing.assert_array_equal(mended(pts, dts, shift), pts)


def test_neighbours_with_damaged_times_keep_their_order() -> None:
    """As where the clock of Matroska leaps: the decoding times, which FFmpeg guesses, follow two pictures later."""
    pts, dts = stream(40)
    damaged = pts.copy()
    damaged[61:63] += 8000  # a picture and one displayed before it
    np.testing.assert_array_equal(mended(damaged, dts, last=16.0), pts)
    assert damaged[61] > damaged[62]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_a_display_time_that_leaps_before_the_decoding_time_leaps_with_it(ahead: int) -> None:
    """As in Matroska, whose decoding times FFmpeg guesses from earlier display times."""
    pts, dts = stream(40)
    shift = np.zeros(len(pts))
    pts_there, shift[61:] = pts.copy(), -2.0
    pts_there[61 - ahead :] += 2000
    dts[61:] += 2000
    np.testing.assert_array_equal(mended(pts_there, dts, shift), pts)


def test_a_display_time_before_a_leap_stays_there_if_its_place_is_free() -> None:
    """Only the decoding time of the packet has leaped, and comes late by a quarter of a second."""
    pts, dts = stream(40)
    shift = np.zeros(len(pts))
    dts[63:] += 2000
    leaped = np.where(np.arange(len(pts)) > 63, pts + 2000, pts)
    shift[63:] = -1.75
    found = mended(leaped, dts, shift)
    np.testing.assert_array_equal(found[:64], pts[:64])
    np.testing.assert_array_equal(found[64:], pts[64:] + 250)


@pytest.mark.parametrize("place", range(4, 118))
def test_of_two_pictures_at_one_time_the_less_usual_one_is_wrong(place: int) -> None:
    pts, dts = stream(40)
    damaged = pts.copy()
    damaged[place] -= 300
    np.testing.assert_array_equal(mended(damaged, dts), damaged)  # it may stand in the file twice
    np.testing.assert_array_equal(mended(damaged, dts, single=True), pts)


def test_many_damaged_times_are_mended_in_little_time() -> None:
    pts, dts = stream(30_000)
    begin = time.monotonic()
    damaged = np.where(np.arange(len(pts)) % 2, pts - 200_000, pts)
    assert len(np.unique(mended(damaged, dts, single=True))) > 0.9 * len(pts)
    pairs = pts // 200 * 200
    mended(pairs, dts, single=True)
    assert time.monotonic() - begin < 10


def test_mended_times_that_meet_are_moved_apart() -> None:
    pts = np.array([0, 100, 2000, 300, 300])
    shift = np.array([0, 0, -1.9, 0, 0])
    copies = np.rint(apart(pts, shift, TICK, np.zeros(5, bool)) / TICK) + pts
    assert copies.tolist() == [0, 100, 101, 300, 300]  # what stands in the file twice keeps its time
    single = np.rint(apart(pts, shift, TICK, np.ones(5, bool)) / TICK) + pts
    assert single.tolist() == [0, 100, 101, 300, 301]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.lists(st.integers(-30, 30), min_size=40))
def test_times_apart_are_near_and_different(own: list[int], added: list[int]) -> None:
    pts, steps = np.array(own), np.array(added[: len(own)])
    found = pts + np.rint(apart(pts, steps * TICK, TICK, np.ones(len(own), bool)) / TICK)
    assert len(np.unique(found)) == len(own)
    assert (np.sort(found) - np.sort(pts + steps) >= 0).all() and (found - pts - steps <= len(own)).all()


def test_packets_without_a_time_stay_so() -> None:
    pts = np.array([0, NO_TIME, NO_TIME, 100])
    assert (apart(pts, np.full(4, 1.0), TICK, pts != NO_TIME)[[1, 2]] == 1.0).all()
