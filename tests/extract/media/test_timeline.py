"""Clocks are set on where they leave or begin anew, and nowhere else."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extract.media.timeline import BACKWARD_JUMP, FORWARD_JUMP, REORDERED_JUMP, Track, corrections

STEP = 0.04
Seconds = NDArray[np.float64]


def track(times: Sequence[float] | Seconds, place: Sequence[int] | None = None, **more: bool) -> Track:
    """A track of which every packet lasts 0.04 s."""
    seconds = np.asarray(times, np.float64)
    ranks = np.arange(len(seconds)) if place is None else np.asarray(place)
    return Track(ranks, seconds, np.full(len(seconds), STEP), **more)


def even(count: int) -> Seconds:
    return np.arange(count) * STEP


def mended(times: Seconds, restarts: bool = False, longest: float | None = None, **more: bool) -> Seconds:
    (shift,) = corrections([track(times, **more)], restarts, longest)
    return times + shift


@pytest.mark.parametrize("restarts", [False, True])
def test_a_sane_clock_is_left_as_it_is(restarts: bool) -> None:
    late = 3600 + even(100)
    gap = np.concatenate([even(50), 9 + even(50)])  # pictures that stand still
    rounded = even(100) - 0.03 * (np.arange(100) % 2)
    for times in (even(100), late, gap, rounded, even(1), even(0)):
        np.testing.assert_array_equal(mended(times, restarts), times)


def test_pictures_out_of_order_are_sane_where_only_times_of_showing_are_known() -> None:
    shown = np.array([0, 0.9, 0.3, 0.6, 1.8, 1.2, 1.5])
    np.testing.assert_array_equal(mended(shown, reordered=True), shown)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("leap", [5000.0, 3.0, -3.0, 2.0**33 / 90_000, 1e12])
@pytest.mark.parametrize(("first", "count"), [(50, 1), (50, 20), (60, 200), (1, 3)])
def test_a_clock_that_leaves_and_comes_back_is_set_on_meanwhile(
    first: int, count: int, leap: float, restarts: bool
) -> None:
    times = even(500)
    times[first : first + count] += leap
    np.testing.assert_allclose(mended(times, restarts), even(500), atol=1e-3)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_beginning_is_set_before_what_follows(restarts: bool, count: int) -> None:
    times = even(300)
    times[:count] += 5000
    np.testing.assert_allclose(mended(times, restarts), even(300), atol=1e-9)


def test_a_wrong_end_is_found_by_the_duration_that_the_file_states() -> None:
    times = even(300)
    times[-1] += 5000
    np.testing.assert_allclose(mended(times, longest=12.0), even(300), atol=1e-9)
    np.testing.assert_array_equal(mended(times), times)  # as if the last picture but one stood still
    np.testing.assert_allclose(mended(times, restarts=True), even(300), atol=1e-9)


def test_several_wrong_packets_do_not_add_up() -> None:
    times = even(1000)
    for place, leap in ((100, 7.0), (300, -3.0), (301, 4000.0), (500, 2.0), (700, -2.0), (900, 60.0)):
        times[place] += leap
    np.testing.assert_allclose(mended(times), even(1000), atol=1e-9)


@pytest.mark.parametrize("gap", [3.0, 9.0, 300.0])
def test_a_picture_that_stands_still_is_kept_beside_damage(gap: float) -> None:
    times = even(400)
    times[200:] += gap
    right = times.copy()
    times[100] += 5000
    np.testing.assert_allclose(mended(times, longest=20 + gap), right, atol=1e-9)
    together = right - np.where(np.arange(400) >= 200, gap, 0) if gap > FORWARD_JUMP else right
    np.testing.assert_allclose(mended(times, restarts=True), together, atol=1e-9)


def test_slow_pictures_are_kept_beside_damage() -> None:
    right = np.arange(200) * 3.0
    times = right.copy()
    times[77] += 1e6
    np.testing.assert_allclose(mended(times)[78:], right[78:], atol=1e-9)


def test_recordings_that_were_joined_follow_each_other() -> None:
    for second in (0.0, 1000.0, -500.0):
        times = np.concatenate([even(100), second + even(100), even(100)])
        np.testing.assert_allclose(mended(times, restarts=True), even(300), atol=1e-9)
    again = np.concatenate([even(100), even(100)])
    np.testing.assert_allclose(mended(again), even(200), atol=1e-9)


def two(*recordings: tuple[Seconds, Seconds]) -> list[Track]:
    """Pictures and sound of recordings that were joined, stored as they are shown; sound half a second ahead."""
    rows = [
        (n, at - 0.5 * which, which, at)
        for n, both in enumerate(recordings)
        for which, of in enumerate(both)
        for at in of.tolist()
    ]
    ordered = sorted(rows, key=lambda row: row[:2])
    return [
        track([r[3] for r in ordered if r[2] == w], [n for n, r in enumerate(ordered) if r[2] == w])
        for w in (0, 1)
    ]


@pytest.mark.parametrize("start", [0.0, 700.0, 7.0])
@pytest.mark.parametrize("beyond", [-3.0, 0.0, 0.3, 3.0, 9.0])
def test_streams_of_joined_recordings_stay_together(start: float, beyond: float) -> None:
    """Also where sound ends before or after the pictures."""
    seen, heard = 10 + even(500), 10 + even(500 + round(beyond / STEP))
    tracks = two((seen, heard), (start + seen, start + heard))
    pictures, sound = corrections(tracks, True, None)
    assert pictures[-1] == pytest.approx(sound[-1], abs=1e-9) and not pictures[0] and not sound[0]
    shown = tracks[0].time + pictures
    end = max(seen[-1], heard[-1])
    assert (np.diff(shown) > 0).all() and shown[500] >= end
    assert shown[500] - end < 2


def test_a_stream_that_begins_in_the_second_recording_belongs_there() -> None:
    nothing = np.empty(0)
    for sound in (even(100), 3 + even(100)):
        tracks = two((even(1000), nothing), (even(1000), sound))
        pictures, heard = corrections(tracks, True, None)
        assert heard == pytest.approx(np.full(100, pictures[-1]), abs=0.6)
        assert pictures[-1] == pytest.approx(40, abs=0.6)


def test_a_stream_that_begins_late_is_left_there() -> None:
    wrong = even(1000)
    wrong[10] += 777
    tracks = [track(wrong), track(30 + even(100), np.arange(750, 850))]
    pictures, heard = corrections(tracks, True, None)
    assert not heard.any() and np.flatnonzero(pictures).tolist() == [10]


@pytest.mark.parametrize("count", [3, 30])
def test_a_long_wrong_beginning_is_set_before_what_follows_where_the_other_stream_is(count: int) -> None:
    """As in the first fragment of mp4; the duration that the file states comes from the wrong time."""
    wrong = even(100)
    wrong[:count] += 2.0**45
    tracks = [track(even(100), np.arange(0, 200, 2)), track(wrong, np.arange(1, 200, 2))]
    pictures, sound = corrections(tracks, False, 2.0**45 + 4)
    assert not pictures.any()
    np.testing.assert_allclose(wrong + sound, even(100), atol=0.02)


def test_a_stream_that_begins_days_later_begins_where_the_other_stream_is() -> None:
    """As where the clock of flv wraps; what follows begins anew at 0."""
    wrong = np.concatenate([4e6 + even(60), even(40)])
    tracks = [track(even(100), np.arange(0, 200, 2)), track(wrong, np.arange(1, 200, 2))]
    pictures, sound = corrections(tracks, False, None)
    assert not pictures.any()
    np.testing.assert_allclose(wrong + sound, even(100), atol=0.05)


def test_no_picture_stands_still_for_days_whatever_the_file_states() -> None:
    times = even(100)
    times[50:] += 1e9
    np.testing.assert_allclose(mended(times, longest=1e9 + 4), even(100), atol=1e-6)


def test_a_clock_of_33_bits_that_wraps_goes_on() -> None:
    wrap = 2**33 / 90_000
    times = (wrap - 5 + even(250)) % wrap
    tracks = [track(times, np.arange(0, 500, 2)), track(times, np.arange(1, 500, 2))]
    for shift in corrections(tracks, True, None):
        np.testing.assert_allclose(times + shift, wrap - 5 + even(250), atol=0.05)


def test_packets_without_a_time_are_set_on_with_those_before() -> None:
    times = np.concatenate([even(100), even(100)])
    times[[0, 50, 99, 100, 150]] = np.nan
    (shift,) = corrections([track(times)], True, None)
    assert (np.isnan(times) | (np.diff(times + shift, prepend=-1) != 0)).all()
    assert shift[50] == shift[100] == 0 and shift[150] == shift[149] == pytest.approx(4 - 2 * STEP)
    (none,) = corrections([track(np.full(5, np.nan))], True, None)
    assert not none.any()


clocks = st.lists(st.floats(-1e5, 1e5) | st.just(float("nan")), max_size=60)
# Below the jump by more than sums are rounded.
steps = st.lists(st.floats(0, FORWARD_JUMP - 1e-6), min_size=1, max_size=60)


@given(st.lists(st.tuples(st.floats(-100, 1e5), steps), min_size=1, max_size=3), st.booleans())
def test_rising_clocks_are_never_touched(streams: list[tuple[float, list[float]]], restarts: bool) -> None:
    tracks = [track(first + np.cumsum(rises)) for first, rises in streams]
    assert not any(shift.any() for shift in corrections(tracks, restarts, None))


@given(
    st.lists(st.tuples(clocks, st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.none() | st.just(9.0),
)
def test_whatever_the_clocks_say_time_falls_by_no_more_than_the_step_allowed(
    streams: list[tuple[list[float], bool]], restarts: bool, longest: float | None
) -> None:
    tracks = [track(times, reordered=reordered) for times, reordered in streams]
    for one, shift in zip(tracks, corrections(tracks, restarts, longest), strict=True):
        known = (one.time + shift)[~np.isnan(one.time)]
        assert np.isfinite(shift).all() and len(shift) == len(one.time)
        assert (known - np.maximum.accumulate(known) >= -one.back - 1e-6).all()
        assert one.back == (REORDERED_JUMP if one.reordered else BACKWARD_JUMP)


def test_a_clock_that_leaps_at_every_packet_takes_time_by_their_number() -> None:
    def seconds(count: int) -> float:
        times = np.random.default_rng(0).uniform(0, 1e6, count)
        began = time.process_time()
        mended(times, restarts=True)
        return time.process_time() - began

    assert seconds(200_000) < 20 * seconds(20_000) < 60
