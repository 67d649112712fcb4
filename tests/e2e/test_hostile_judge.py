"""The judge of hostile media excuses no more than its reasons say."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.hostile_judge import _heard, _seen
from tests.support.hostile_media import picture
from tests.support.hostile_truth import Thumbs, Truth, thumb_of

COUNT = 20


def thumbs(numbers: list[int]) -> Thumbs:
    return np.array([thumb_of(picture(n)) for n in numbers], np.uint8)


def truth(numbers: list[int], times: list[float], stated: list[float] | None = None) -> Truth:
    """FFmpeg shows these pictures at these times, and complains of the file."""
    return Truth(
        thumbs(numbers),
        np.array(times, np.float64),
        np.array(times if stated is None else stated, np.float64),
        np.empty(0, np.float32),
        16_000,
        1,
        frozenset({"mov"}),
        changes=False,
        complained=True,
        starved=False,
        turned=False,
        late=False,
    )


def seen(numbers: list[int], times: list[float], of: Truth, note: str = "") -> str:
    return _seen(thumbs(numbers), np.array(times, np.float64), of, note)


EVERY = list(range(COUNT))
TIMES = [n / 10 for n in EVERY]


def test_equal_pictures_are_the_same_and_a_lost_one_is_a_fault() -> None:
    assert seen(EVERY, TIMES, truth(EVERY, TIMES)) == "same"
    for note in ("", "frames 19 of 20"):
        assert seen(EVERY[:-1], TIMES[:-1], truth(EVERY, TIMES), note) == "fault"


def test_only_pictures_that_share_a_time_may_be_one() -> None:
    twice = truth([*EVERY, 5, 6], [*TIMES, 0.5, 0.6])
    assert seen(EVERY, TIMES, twice) == "one time twice"
    assert seen(EVERY[:-2], TIMES[:-2], twice) == "fault"
    later = truth([*EVERY, 5, 6], [*TIMES, 2.0, 2.1])
    assert seen(EVERY, TIMES, later) == "fault"


def test_a_picture_without_a_time_is_excused_only_if_a_note_tells_it() -> None:
    of = truth(EVERY, TIMES, [float("nan"), *TIMES[1:]])
    assert seen(EVERY[1:], TIMES[1:], of) == "fault"
    assert seen(EVERY[1:], TIMES[1:], of, "frames 19 of 20") == "without a time"


def test_another_order_is_excused_only_beside_a_leap_of_the_times() -> None:
    swapped = [*EVERY[:10], 11, 10, *EVERY[12:]]
    leap = [*TIMES[:11], *(t + 8 for t in TIMES[11:])]
    assert seen(swapped, leap, truth(EVERY, TIMES)) == "another order"
    early = [*EVERY[:3], 4, 3, *EVERY[5:]]
    assert seen(early, leap, truth(EVERY, TIMES)) == "concealed"  # a few pictures differ in a damaged file
    calm = replace(truth(EVERY, TIMES), complained=False)
    assert seen(early, leap, calm) == seen(swapped, TIMES, calm) == "fault"


def sound(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.1, count).astype(np.float32)


@pytest.mark.parametrize(("at", "more", "kind"), [(5000, 4096, "frames more"), (5000, 4000, "fault")])
def test_more_sound_is_excused_only_as_whole_frames_at_one_place(at: int, more: int, kind: str) -> None:
    ours = sound(40_000)
    theirs = np.concatenate([ours[:at], ours[at + more :]])
    of = replace(truth([], []), formats=frozenset({"mpegts"}))
    assert _heard(ours, theirs, of) == kind
    assert _heard(ours, theirs, replace(of, complained=False)) == "fault"
    assert _heard(ours[:20_000], ours[:21_000], of) == "a frame less"
    theirs[20_000:22_000] = 0
    assert _heard(ours, theirs, of) == "fault"


def test_the_packet_that_primes_is_cut_before_everything_else_only() -> None:
    ours = sound(20_000)
    of = truth([], [])
    assert _heard(ours, ours[1024:-128], of) == "priming"
    assert _heard(ours, ours[900:-128], of) == "fault"
    assert _heard(ours, ours[:-128], of) == "padding"
