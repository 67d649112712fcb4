"""Sane clocks: when each packet of a file begins, where a damaged or joined file says something else.

A flipped bit sends the time of a packet, or of a block of packets, away and back again; recordings that were joined
begin again at 0 or jump. The order in which packets are stored is right all the same, so a clock that leaves and comes
back is set on meanwhile from where it left, and one that stays away is set on for good. A time that is merely late
(pictures that stand still, sound that begins later) is left as it is.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

LEAP: Final = 10.0  # seconds forward that no recording makes by itself; FFmpeg's `dts_delta_threshold`
BACK: Final = 0.5  # seconds back that are more than rounding
BEYOND: Final = 2.0  # seconds beyond the duration that a container states
# Seconds back where only the times of showing are known: pictures are stored out of order.
REORDER: Final = 2.0
_AHEAD: Final = 8  # later leaps among which one may lead back to where a clock left
_JOINS: Final = 4  # of the joins so far, those that a stream may still come to
_FEW: Final = 8  # packets that may be wrong at the beginning of a stream


@dataclass(frozen=True)
class Track:
    """Packets of one stream, in the order of the file.

    Attributes:
        place: rank of each among the packets of all streams, [n].
        time: what rises along the file: decoding times where there are any, else times of showing; NaN where a
            packet has none, seconds, [n].
        length: of each packet, seconds, [n].
        reordered: `time` is the time of showing of pictures, which falls now and then.
    """

    place: NDArray[np.int64]
    time: Seconds
    length: Seconds
    reordered: bool = False

    @property
    def back(self) -> float:
        """Seconds that the time may fall."""
        return REORDER if self.reordered else BACK


def corrections(tracks: Sequence[Track], restarts: bool, longest: float | None) -> list[Seconds]:
    """Seconds to add to the times of each packet, all 0 where the clocks are sane; one array [n] a track.

    No corrected time lies more than `Track.back` before an earlier one of its track.

    Args:
        restarts: the container's clock may jump by design (transport streams), so that any leap is a join.
        longest: the duration that the container states, seconds from its first time; None where it states none.
    """
    if all(_is_sane(track, restarts, longest) for track in tracks):
        return [np.zeros(len(track.time)) for track in tracks]
    return _Repair(tracks, restarts, longest).run()


def _is_sane(track: Track, restarts: bool, longest: float | None) -> bool:
    times = track.time[~np.isnan(track.time)]
    if not len(times):
        return True
    steps = np.diff(times, prepend=times[0])
    limit = LEAP if restarts else np.inf
    inside = longest is None or float(times.max() - times[0]) <= longest + BEYOND
    # A leap alone may be a picture that stands still; one from which the clock comes back shows as a step back.
    return bool((steps >= -track.back).all() and (steps <= limit).all() and inside)


@dataclass(frozen=True)
class _Join:
    """Where a clock began anew: what is added from there on, and what the clock said."""

    offset: float
    raw: float


_BEGINNING: Final = _Join(0.0, float("nan"))


class _Clock:
    """The clock of one track while the file is walked along.

    Attributes:
        base: what is added to it.
        away: what is added while it has left; None while it has not.
        last: where it has come to; None before the first packet.
        end: where the packet there ends.
    """

    def __init__(self, track: Track) -> None:
        self.base = 0.0
        self.away: float | None = None
        self.last: float | None = None
        self.end = 0.0
        self.back = track.back
        numbers = np.flatnonzero(~np.isnan(track.time))
        self._times: list[float] = track.time[numbers].tolist()
        steps = np.diff(track.time[numbers])
        # Ranks among the packets with a time.
        self._leaps: list[int] = (np.flatnonzero(np.abs(steps) > track.back) + 1).tolist()
        usual = steps[(steps > 0) & (steps <= track.back)]
        self.usual = float(np.median(usual)) if len(usual) else 0.04
        self._ranks = {n: rank for rank, n in enumerate(numbers.tolist())}

    @property
    def offset(self) -> float:
        """What is added at present."""
        return self.base if self.away is None else self.away

    def gap(self, now: float) -> float:
        """Seconds from where the clock has come to."""
        return now - (now if self.last is None else self.last)

    def goes_on(self, now: float) -> bool:
        """Whether a time follows where the clock has come to."""
        return -self.back <= self.gap(now) <= self.back

    def comes_back(self, number: int) -> bool:
        """Whether a clock that leaps at a packet leaps back later to where it was."""
        assert self.last is not None
        return self._returns(self._ranks[number], self.last - self.base)

    def first_is_wrong(self, number: int) -> float | None:
        """What is to be added to a few packets at the beginning from which the clock falls; None if it does not."""
        rank = self._ranks[number]
        ends = [*self._later_leaps(rank), len(self._times)][:2]
        if len(ends) < 2 or ends[0] - rank > _FEW or ends[1] - ends[0] <= ends[0] - rank:
            return None
        before, after = self._times[ends[0] - 1], self._times[ends[0]]
        return after - self.usual - before if after < before and not self._returns(ends[0], before) else None

    def _returns(self, rank: int, left: float) -> bool:
        """Whether a clock that leaps leaps back later to what it said when it left."""
        low = self._times[rank] < left
        for later in self._later_leaps(rank):
            rises = self._times[later] > self._times[later - 1]
            gap = self._times[later] - left
            if rises == low and -self.back <= gap <= LEAP + (later - rank) * self.usual:
                return True
        return False

    def _later_leaps(self, rank: int) -> list[int]:
        first = bisect_right(self._leaps, rank)
        return self._leaps[first : first + _AHEAD]


class _Repair:
    """Walks along the file and sets clocks on where they jump."""

    def __init__(self, tracks: Sequence[Track], restarts: bool, longest: float | None) -> None:
        self._tracks, self._restarts, self._longest = tracks, restarts, longest
        self._clocks = [_Clock(track) for track in tracks]
        self._joins: deque[_Join] = deque(maxlen=_JOINS)
        self._start: float | None = None

    def run(self) -> list[Seconds]:
        """The corrections."""
        found = [np.zeros(len(track.time)) for track in self._tracks]
        owners = np.concatenate([np.full(len(t.time), n) for n, t in enumerate(self._tracks)])
        numbers = np.concatenate([np.arange(len(t.time)) for t in self._tracks])
        order = np.argsort(np.concatenate([t.place for t in self._tracks]), kind="stable")
        for track, number in zip(owners[order].tolist(), numbers[order].tolist(), strict=True):
            raw = float(self._tracks[track].time[number])
            if not np.isnan(raw):
                self._step(track, number, raw)
            found[track][number] = self._clocks[track].offset
        return found

    def _step(self, track: int, number: int, raw: float) -> None:
        clock = self._clocks[track]
        if clock.last is None:
            self._begin(clock, number, raw)
        elif clock.goes_on(raw + clock.base):
            clock.away = None
        elif clock.away is None or not clock.goes_on(raw + clock.away):
            self._leap(clock, number, raw)
        now = raw + clock.offset
        if clock.last is None or now >= clock.last:
            clock.last = now
            clock.end = now + min(max(float(self._tracks[track].length[number]), 0.0), LEAP)
        self._start = now if self._start is None else self._start

    def _begin(self, clock: _Clock, number: int, raw: float) -> None:
        """A stream begins: with the clock of the file as it is by now."""
        others = [other.last for other in self._clocks if other.last is not None]
        offsets = [join.offset for join in self._newest_first()]
        near = [o for o in offsets if others and abs(raw + o - max(others)) <= LEAP]
        clock.base = near[0] if near else offsets[0]
        if (
            others and not near and raw + clock.base < max(others)
        ):  # it begins in a recording that was joined on
            self._join(clock, raw)
        wrong = clock.first_is_wrong(number)
        clock.away = None if wrong is None else clock.base + wrong

    def _leap(self, clock: _Clock, number: int, raw: float) -> None:
        """A clock leaps: along with others, for a while, by right, or for good."""
        clock.away = None
        for join in self._newest_first():
            if join.offset == clock.base:
                continue
            gap = clock.gap(raw + join.offset)
            if gap >= -clock.back and (gap <= LEAP or abs(raw - join.raw) <= LEAP):
                clock.base = join.offset
                return
        if clock.comes_back(number):
            clock.away = clock.end - raw
        elif not self._is_late(clock, raw + clock.base):
            self._join(clock, raw)

    def _join(self, clock: _Clock, raw: float) -> None:
        """A recording that was joined on begins, behind all that there was."""
        clock.base = max(other.end for other in self._clocks if other.last is not None) - raw
        self._joins.append(_Join(clock.base, raw))

    def _newest_first(self) -> Iterator[_Join]:
        yield from reversed(self._joins)
        yield _BEGINNING

    def _is_late(self, clock: _Clock, now: float) -> bool:
        """Whether a leap ahead is meant: the container allows it, and states no duration that ends before."""
        gap = clock.gap(now)
        if gap < 0 or (self._restarts and gap > LEAP):
            return False
        assert self._start is not None
        return self._longest is None or now - self._start <= self._longest + BEYOND
