"""Correct when pictures are displayed, where the file's display times contradict its decoding times.

In a sane file, the display times are the decoding times plus one delay, in another order. So a picture whose display
time is damaged belongs where the others leave a place free. Display times are counted in ticks, the unit of a stream.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from extract.media.timeline import BACKWARD_JUMP, FORWARD_JUMP
from extract.media.types import Times

Ticks = NDArray[np.int64]

NO_TIME: Final = -(1 << 62)  # stands for a missing timestamp
# Largest float64 below 2^63: damaged times may not fit into FFmpeg's 64 bits.
MAX_TICKS: Final = (1 << 63) - 1024
MAX_REORDERED_PACKETS: Final = 16  # distance in packets by which pictures may be out of order
# Distance at which a packet is always decoded after the picture is shown: that far pictures may be shown after later
# ones, and that far decoding may run ahead of showing.
_SURELY_LATER: Final = 2 * MAX_REORDERED_PACKETS
# Pictures by which FFmpeg's guess of a missing decoding time may lie behind the display time, or behind a leap of it.
_MAX_LATE_GUESS: Final = 4
_NONE: Final = np.empty(0)


def ticks_of(seconds: Any, tick: float) -> Any:
    """Convert one time, or times [n], from seconds into whole ticks of `tick` seconds."""
    return np.clip(np.rint(seconds / tick), -MAX_TICKS, MAX_TICKS).astype(np.int64)


def display_shift(
    pts: Ticks, dts: Ticks, shift: Times, tick: float, last: float, single: NDArray[np.bool_]
) -> Times:
    """Return how many seconds to add to the display time of each of a stream's n packets, [n].

    Usually this is `shift`. But where a picture's display time contradicts its decoding time, it is set to a place
    that the other pictures leave free.

    Args:
        pts: display times in ticks, `NO_TIME` where missing, [n].
        dts: decoding times in ticks, `NO_TIME` where missing, [n].
        shift: how many seconds are added to the decoding time of each packet, [n].
        tick: length of a tick, seconds.
        last: time by which the whole file has been displayed, seconds.
        single: packets that cannot have the display time of another, [n].
    """
    both = (pts != NO_TIME) & (dts != NO_TIME)
    wrong = _contradicted(pts, dts, both, shift, tick, last) if both.any() else both
    wrong |= _coinciding(pts, dts, single & both & ~wrong, shift, tick)
    if not wrong.any():
        return shift
    steps = ticks_of(shift, tick)
    steps[wrong] = ticks_of(_places(pts, dts, both, wrong, shift, tick), tick) - pts[wrong]
    return np.asarray(steps * tick, np.float64)


def apart(pts: Ticks, shift: Times, tick: float, single: NDArray[np.bool_]) -> Times:
    """Return the seconds that are added to display times, changed so that no two pictures come to lie at one time.

    They are moved one tick apart. Packets with the same time in the file keep one time, because such a packet stands
    in the file twice, unless the container excludes this.

    Args:
        pts: display times in ticks, `NO_TIME` where missing, [n].
        shift: how many seconds are added to each, [n].
        tick: length of a tick, seconds.
        single: packets that cannot stand in the file twice, [n].
    """
    steps = ticks_of(shift, tick)
    if not steps.any() and len(np.unique(pts[single])) == single.sum():
        return shift
    bound = 1 << 62  # leaves room for the ticks that are added
    ranks = np.where(single, np.arange(len(pts)), -1)
    rows = np.stack([np.clip(pts + steps, -bound, bound), pts, ranks], axis=1)
    rows, inverse = np.unique(rows, axis=0, return_inverse=True)
    order = np.arange(len(rows))
    stamps = (order + np.maximum.accumulate(rows[:, 0] - order))[inverse.reshape(-1)]
    return np.asarray(np.where(pts == NO_TIME, steps, stamps - pts) * tick, np.float64)


def _contradicted(
    pts: Ticks, dts: Ticks, both: NDArray[np.bool_], shift: Times, tick: float, last: float
) -> NDArray[np.bool_]:
    """Return which packets have a display time that their decoding time does not allow, bool [n].

    Display time and decoding time normally differ by a constant. Much more is allowed only for a picture that stands
    still. Much less is never allowed: no picture is displayed before it is decoded.
    """
    difference = np.where(both, (pts - dts) * tick, 0.0)
    usual = float(np.median(difference[both]))
    decoded = np.where(both, dts * tick + shift, np.nan)
    rounding = _rounding(_period(decoded[both]))
    # A picture that stands still also makes a large difference, but only until later packets are decoded.
    later = _decoded_later(decoded, MAX_REORDERED_PACKETS)
    later = np.where(np.isnan(later), decoded + 5 * FORWARD_JUMP, later)
    shown = pts * tick + shift
    ahead = (difference > usual + FORWARD_JUMP) & (shown > later + FORWARD_JUMP)
    surely_later = _decoded_later(decoded, _SURELY_LATER)
    # Where the correction changes, the time of decoding leaped, so the difference tells nothing of a still picture.
    changes = np.flatnonzero(np.diff(shift, prepend=shift[:1]))
    leap = _steps_to(changes, len(shift)) <= _MAX_LATE_GUESS
    ahead |= (difference > usual + rounding) & ((shown > surely_later + rounding) | (shown > last) | leap)
    behind = (difference < usual - FORWARD_JUMP) | (difference < min(usual, 0.0) - rounding)
    contradicted: NDArray[np.bool_] = both & (ahead | behind)
    return contradicted


def _coinciding(
    pts: Ticks, dts: Ticks, which: NDArray[np.bool_], shift: Times, tick: float
) -> NDArray[np.bool_]:
    """Return which of some packets have the display time of another one and belong elsewhere, bool [n].

    If the nearest free place is later, the packets that are decoded later belong there, otherwise those before.
    """
    found = np.zeros(len(pts), bool)
    numbers = np.flatnonzero(which)
    shown, decoded = ((stamps * tick + shift)[numbers] for stamps in (pts, dts))
    order = np.argsort(
        np.rint(shown / tick), kind="stable"
    )  # of those at one time, the first is decoded first
    equal = np.diff(np.rint(shown[order] / tick)) == 0
    if not equal.any():
        return found
    free = np.append(_free_slots(decoded, decoded, shown), np.inf)
    after = np.minimum(np.searchsorted(free, shown[order]), len(free) - 1)
    is_later = free[after] - shown[order] <= shown[order] - np.where(after > 0, free[after - 1], -np.inf)
    found[numbers[order]] = np.append(False, equal) & is_later | np.append(equal, False) & ~is_later
    return found


def _steps_to(places: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """Return how many packets after each of `count` packets the next of some sorted places is, [count]."""
    following = np.append(places, 2 * count + _MAX_LATE_GUESS)
    return np.asarray(following[np.searchsorted(places, np.arange(count))] - np.arange(count), np.int64)


def _decoded_later(decoded: Times, distance: int) -> Times:
    """Return when the packet at a distance after each packet is decoded, seconds; NaN beyond the end."""
    return np.append(decoded, np.full(distance, np.nan))[distance:]


def _places(
    pts: Ticks,
    dts: Ticks,
    both: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    shift: Times,
    tick: float,
) -> Times:
    """Return display times for the m packets whose own are wrong, seconds, [m].

    If the correction of the next right packet makes the packet's own time fit, this is its time; so it is if that of
    the right packet before makes it one of the free places. Each of the others gets the free place next to where it
    would usually be displayed. Packets that follow each other, and whose display times are near each other, keep the
    order of these times.
    """
    decoded, own = dts * tick + shift, np.asarray(pts * tick, np.float64)
    right = both & ~wrong
    shown = np.sort((own + shift)[right])
    wanted = decoded[wrong] + float(np.median((own - dts * tick)[both]))
    period = _period(decoded[both])
    found = _fitting(own, shift, right, wrong, wanted, period, before=False)
    slots = _free_slots(decoded[both], decoded[right], shown, found[~np.isnan(found)])
    former = _fitting(own, shift, right, wrong, wanted, period, before=True)
    found = np.where(np.isnan(found) & (_distance(former, slots) <= period / 2), former, found)
    left = np.isnan(found)
    free: list[float] = _free_slots(decoded[both], decoded[right], shown, found[~left]).tolist()
    numbers, ranks = np.flatnonzero(wrong)[left], np.flatnonzero(left)
    reach = MAX_REORDERED_PACKETS * period
    is_apart = (np.diff(numbers) > MAX_REORDERED_PACKETS) | (np.abs(np.diff(own[numbers])) > reach)
    for group in np.split(np.arange(len(numbers)), np.flatnonzero(is_apart) + 1):
        times = sorted(_take_nearest(free, float(wanted[rank]), reach) for rank in ranks[group])
        found[ranks[group[np.argsort(own[numbers[group]], kind="stable")]]] = times
    return found


def _free_slots(decoded: Times, some: Times, shown: Times, more: Times = _NONE) -> Times:
    """Return the places that pictures leave free, seconds, sorted.

    These are the decoding times plus the usual delay, where no picture is displayed.

    Args:
        decoded: decoding times of all pictures, seconds.
        some: decoding times of the n pictures whose display times are right, seconds, [n].
        shown: these display times, seconds, [n].
        more: other display times that are taken, seconds.
    """
    delay = float(np.median(np.sort(shown) - np.sort(some))) if len(shown) else 0.0
    slots = np.sort(decoded) + delay
    return slots[_distance(slots, np.sort(np.append(shown, more))) > _period(decoded) / 2]


def _fitting(
    own: Times,
    shift: Times,
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    wanted: Times,
    period: float,
    before: bool,
) -> Times:
    """Return the own times of the m wrong packets with the correction of a right one, seconds; NaN where it is unfit.

    The right one is the next, or the one `before`. A time fits if it is near the wanted time and no right packet is
    displayed then, [m].
    """
    numbers = np.flatnonzero(right)
    if not len(numbers):
        return np.full(len(wanted), np.nan)
    ranks = np.searchsorted(numbers, np.flatnonzero(wrong)) - before
    moved = own[wrong] + shift[numbers[np.clip(ranks, 0, len(numbers) - 1)]]
    is_free = _distance(moved, np.sort((own + shift)[right])) > period / 2
    return np.where(is_free & (np.abs(moved - wanted) <= _rounding(period)), moved, np.nan)


def _period(decoded: Times) -> float:
    """Return the usual time from one packet to the next, seconds."""
    steps = np.diff(np.sort(decoded))
    return float(np.median(steps)) if len(steps) else 0.04


def _rounding(period: float) -> float:
    """Return by how many seconds the times of a picture may differ from what is usual without being wrong."""
    return max(BACKWARD_JUMP, _MAX_LATE_GUESS * period)


def _distance(times: Times, others: Times) -> Times:
    """Return how far each time is from the nearest of other, sorted times."""
    if not len(others):
        return np.full(len(times), np.inf)
    after = np.minimum(np.searchsorted(others, times), len(others) - 1)
    near = np.minimum(np.abs(others[after] - times), np.abs(others[np.maximum(after - 1, 0)] - times))
    return np.asarray(near, np.float64)


def _take_nearest(free: list[float], wanted: float, reach: float) -> float:
    """Remove the time nearest to the wanted one from a sorted list and return it.

    If none is within reach, return the wanted time.
    """
    rank = bisect_left(free, wanted)
    near: Sequence[int] = [n for n in (rank - 1, rank) if 0 <= n < len(free)]
    best = min(near, key=lambda n: abs(free[n] - wanted), default=None)
    return wanted if best is None or abs(free[best] - wanted) > reach else free.pop(best)
