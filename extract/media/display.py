"""Find damaged display times of pictures in a video file, and replace them by right ones.

A packet states when its picture is decoded and when it is displayed. In an undamaged file, the display times are the
decoding times plus a constant delay, in another order. So if each decoding time plus the delay is seen as a place for
one picture, a picture with a damaged display time belongs to a place that the other pictures leave free. The file
counts times in ticks, a unit of its own.
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

    Usually this is `shift`. But a display time that contradicts the packet's decoding time is replaced: the picture
    gets a time at which no other picture is displayed.

    Args:
        pts: display times in ticks, `NO_TIME` where missing, [n].
        dts: decoding times in ticks, `NO_TIME` where missing, [n].
        shift: how many seconds are added to the decoding time of each packet, [n].
        tick: length of a tick, seconds.
        last: time by which the whole file has been displayed, seconds.
        single: whether no other packet can have the same display time, bool [n].
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
    """Change the corrections of display times so that no two pictures are displayed at the same time.

    Pictures that would coincide are moved one tick apart. But two packets with the same display time in the file may be
    one packet that is stored twice; they keep a common time, unless `single` says otherwise.

    Args:
        pts: display times of n packets in ticks, `NO_TIME` where missing, [n].
        shift: how many seconds are added to each display time, [n].
        tick: length of a tick, seconds.
        single: whether the file format excludes that the packet is stored twice, bool [n].

    Returns:
        How many seconds to add to each display time, [n].
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
    """Return which of n packets have a display time that their decoding time does not allow, bool [n].

    Display time minus decoding time is normally a constant. It may be much larger only for a picture that stays on
    screen for long. It may never be much smaller, because no picture is displayed before it is decoded.
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
    """Return which packets must get another display time, because two packets have the same one, bool [n].

    Of the two, the one that is decoded later must change if the nearest free display time is later; otherwise the other
    one. Only the packets that `which` marks, bool [n], are compared.
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
    """Return, for each of `count` packets, how many packets later the next one of `places` is, [count].

    Args:
        places: indices of some packets, sorted.
        count: number of packets.
    """
    following = np.append(places, 2 * count + _MAX_LATE_GUESS)
    return np.asarray(following[np.searchsorted(places, np.arange(count))] - np.arange(count), np.int64)


def _decoded_later(decoded: Times, distance: int) -> Times:
    """Return, for each of n packets, the decoding time of the packet `distance` places after it, seconds, [n].

    It is NaN where there is no such packet.
    """
    return np.append(decoded, np.full(distance, np.nan))[distance:]


def _places(
    pts: Ticks,
    dts: Ticks,
    both: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    shift: Times,
    tick: float,
) -> Times:
    """Return new display times for the m packets whose own display times are wrong, seconds, [m].

    A free place is a time at which a picture should be displayed but none is. A packet's usual time is its decoding
    time plus the usual delay. The first of these rules that applies gives the new time:

    1. the packet's own time, with the correction of the next right packet, is free and near its usual time;
    2. the packet's own time, with the correction of the right packet before it, is a free place;
    3. the free place that is nearest to the packet's usual time.

    By rule 3, neighbouring packets with similar display times keep the order of these times.
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
    """Return the times at which a picture should be displayed but none is, seconds, sorted.

    A picture should be displayed at each decoding time plus the usual delay.

    Args:
        decoded: decoding times of all pictures, seconds.
        some: decoding times of the n pictures whose display times are right, seconds, [n].
        shown: display times of these n pictures, seconds, [n].
        more: other times at which a picture is displayed, seconds.
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
    """Correct the display times of the m wrong packets like those of a right packet beside them, seconds, [m].

    The result is NaN where this gives no plausible time: it must be near the wanted time, and no right packet may be
    displayed then.

    Args:
        own: display times of all n packets as the file states them, seconds, [n].
        shift: seconds that are added to the times of each packet, [n].
        right, wrong: which packets have a right, or a wrong, display time, bool [n].
        wanted: usual display times of the m wrong packets, seconds, [m].
        period: usual time from one packet to the next, seconds.
        before: use the right packet before each wrong one instead of the one after it.
    """
    numbers = np.flatnonzero(right)
    if not len(numbers):
        return np.full(len(wanted), np.nan)
    ranks = np.searchsorted(numbers, np.flatnonzero(wrong)) - before
    moved = own[wrong] + shift[numbers[np.clip(ranks, 0, len(numbers) - 1)]]
    is_free = _distance(moved, np.sort((own + shift)[right])) > period / 2
    return np.where(is_free & (np.abs(moved - wanted) <= _rounding(period)), moved, np.nan)


def _period(decoded: Times) -> float:
    """Return the median time from one packet to the next, seconds; 0.04 if there is only one packet.

    Args:
        decoded: decoding times of the packets, seconds, in any order.
    """
    steps = np.diff(np.sort(decoded))
    return float(np.median(steps)) if len(steps) else 0.04


def _rounding(period: float) -> float:
    """Return by how many seconds a picture's display time may differ from the usual one and still count as right.

    Args:
        period: usual time from one packet to the next, seconds.
    """
    return max(BACKWARD_JUMP, _MAX_LATE_GUESS * period)


def _distance(times: Times, others: Times) -> Times:
    """Return the distance of each of n times from the nearest of some other times, seconds, [n].

    The other times are sorted; if there are none, the distance is infinite.
    """
    if not len(others):
        return np.full(len(times), np.inf)
    after = np.minimum(np.searchsorted(others, times), len(others) - 1)
    near = np.minimum(np.abs(others[after] - times), np.abs(others[np.maximum(after - 1, 0)] - times))
    return np.asarray(near, np.float64)


def _take_nearest(free: list[float], wanted: float, reach: float) -> float:
    """Remove the time that is nearest to the wanted time from a sorted list, and return it.

    If no time is within `reach` seconds of the wanted time, return the wanted time, and leave the list unchanged.
    """
    rank = bisect_left(free, wanted)
    near: Sequence[int] = [n for n in (rank - 1, rank) if 0 <= n < len(free)]
    best = min(near, key=lambda n: abs(free[n] - wanted), default=None)
    return wanted if best is None or abs(free[best] - wanted) > reach else free.pop(best)
