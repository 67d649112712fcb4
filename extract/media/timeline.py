"""Correct the timestamps of damaged or joined media files: find when each packet really begins.

There are two kinds of errors. A flipped bit changes the time of one packet, or of some successive packets; then the
times are right again. In joined recordings, the times restart at 0 or jump. The order of the packets is always right.

So if the times jump away and later come back, the times in between are shifted to continue from before the jump. If
they do not come back, all later times are shifted. A time that is merely late (a picture that stands still, sound that
begins later) is left unchanged.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

FORWARD_JUMP: Final = (
    10.0  # seconds forward that no recording makes by itself; FFmpeg's `dts_delta_threshold`
)
BACKWARD_JUMP: Final = 0.5  # seconds back that exceed rounding
LONGEST_STILL: Final = 86_400.0  # seconds that no picture stands still, whatever duration the file states
DURATION_MARGIN: Final = 2.0  # seconds that times may exceed the duration in the header
# Seconds back where only display times are known: pictures are stored in decoding order.
REORDERED_JUMP: Final = 2.0
_JUMPS_AHEAD: Final = 8  # later jumps that are searched for one that leads back
_MAX_JOINS: Final = 4  # latest joins that a stream may still follow
_MAX_WRONG_FIRST: Final = 8  # packets that may be wrong at the beginning of a stream


@dataclass(frozen=True)
class Track:
    """Times of the packets of one stream, in the order of the file.

    Attributes:
        place: rank of each of the stream's n packets among the packets of all streams, [n].
        time: time of each packet, seconds; decoding times if the file has them, else display times; NaN where a packet
            has none, [n].
        length: duration of each packet, seconds, [n].
        reordered: whether `time` holds display times of pictures, which do not always increase.
    """

    place: NDArray[np.int64]
    time: Seconds
    length: Seconds
    reordered: bool = False

    @property
    def back(self) -> float:
        """The largest decrease of the time from one packet to the next, in seconds, that does not count as a jump."""
        return REORDERED_JUMP if self.reordered else BACKWARD_JUMP


def corrections(tracks: Sequence[Track], restarts: bool, longest: float | None) -> list[Seconds]:
    """Return how many seconds to add to the time of each packet: one array [n] per stream with n packets.

    If no time is wrong, all values are 0. After the correction, no time jumps back: it may lie before an earlier time
    of its stream by at most `Track.back` seconds.

    Args:
        tracks: the packet times of each stream.
        restarts: whether the container allows jumps of its timestamps (transport streams); then each jump is a place
            where recordings were joined.
        longest: duration that the container states, seconds from its first time; None where it states none.
    """
    if all(_is_sane(track, restarts, longest) for track in tracks):
        return [np.zeros(len(track.time)) for track in tracks]
    return _Repair(tracks, restarts, longest).run()


def _is_sane(track: Track, restarts: bool, longest: float | None) -> bool:
    times = track.time[~np.isnan(track.time)]
    if not len(times):
        return True
    steps = np.diff(times, prepend=times[0])
    limit = FORWARD_JUMP if restarts else LONGEST_STILL
    inside = longest is None or float(times.max() - times[0]) <= longest + DURATION_MARGIN
    # A forward jump alone may be a picture that stands still. If the clock comes back, there is a backward step.
    return bool((steps >= -track.back).all() and (steps <= limit).all() and inside)


@dataclass(frozen=True)
class _Join:
    """A place in the file at which a second recording was joined to a first one.

    Attributes:
        offset: seconds to add to the times of the second recording.
        raw: time that the file states at this place, seconds.
    """

    offset: float
    raw: float


_BEGINNING: Final = _Join(0.0, float("nan"))


class _TrackClock:
    """How many seconds must be added to the times of one stream at the packet that is visited now.

    The packets are visited in the order of the file.

    Attributes:
        base: seconds to add to the stream's times.
        excursion: seconds to add instead of `base`, while the times have jumped away for a while; None otherwise.
        last: latest corrected time so far, seconds; None before the first packet.
        end: when the packet with the time `last` ends, seconds.
    """

    def __init__(self, track: Track) -> None:
        self.base = 0.0
        self.excursion: float | None = None
        self.last: float | None = None
        self.end = 0.0
        self.back = track.back
        numbers = np.flatnonzero(~np.isnan(track.time))
        self._times: list[float] = track.time[numbers].tolist()
        steps = np.diff(track.time[numbers])
        # Ranks are counted among the packets that have a time.
        self._jumps: list[int] = (np.flatnonzero(np.abs(steps) > track.back) + 1).tolist()
        usual = steps[(steps > 0) & (steps <= track.back)]
        self.usual = float(np.median(usual)) if len(usual) else 0.04
        self._ranks = {n: rank for rank, n in enumerate(numbers.tolist())}

    @property
    def offset(self) -> float:
        """Seconds that are added to the times of the stream now: `excursion` if it is set, otherwise `base`."""
        return self.base if self.excursion is None else self.excursion

    def gap(self, now: float) -> float:
        """Return how many seconds the time `now` is after the latest corrected time; 0 if there is none yet."""
        return now - (now if self.last is None else self.last)

    def continues_at(self, now: float) -> bool:
        """Return whether a corrected time differs by at most `back` seconds from the latest one, so it is no jump."""
        return -self.back <= self.gap(now) <= self.back

    def jumps_back_later(self, number: int) -> bool:
        """Return whether the jump of the times at this packet is temporary, because a later jump leads back."""
        assert self.last is not None
        return self._returns_to(self._ranks[number], self.last - self.base)

    def correction_of_first_packets(self, number: int, others: float | None) -> float | None:
        """Return how many seconds to add to the first packets of a stream, if their times are too late; else None.

        The first times are too late if the times jump back after them and never return. If more than 8 packets come
        before the jump, it must also lead near the times of the other streams.

        Args:
            number: index of the stream's first packet that has a time.
            others: latest corrected time of the other streams, seconds; None if this stream cannot be compared with
                them.
        """
        rank = self._ranks[number]
        ends = [*self._later_jumps(rank), len(self._times)][:2]
        if len(ends) < 2 or ends[1] - ends[0] <= ends[0] - rank:
            return None
        before, after = self._times[ends[0] - 1], self._times[ends[0]]
        near = FORWARD_JUMP + (ends[0] - rank) * self.usual
        if ends[0] - rank > _MAX_WRONG_FIRST and (others is None or abs(after + self.base - others) > near):
            return None
        return (
            after - self.usual - before if after < before and not self._returns_to(ends[0], before) else None
        )

    def _returns_to(self, rank: int, left: float) -> bool:
        """Return whether a jump of the times is temporary, because a later jump leads back.

        Args:
            rank: index of the packet after the jump, among the packets that have a time.
            left: last time before the jump, seconds.
        """
        low = self._times[rank] < left
        for later in self._later_jumps(rank):
            rises = self._times[later] > self._times[later - 1]
            gap = self._times[later] - left
            if rises == low and -self.back <= gap <= FORWARD_JUMP + (later - rank) * self.usual:
                return True
        return False

    def _later_jumps(self, rank: int) -> list[int]:
        first = bisect_right(self._jumps, rank)
        return self._jumps[first : first + _JUMPS_AHEAD]


class _Repair:
    """Visits the packets of all streams in the order of the file and corrects the times where they jump."""

    def __init__(self, tracks: Sequence[Track], restarts: bool, longest: float | None) -> None:
        self._tracks, self._restarts, self._longest = tracks, restarts, longest
        self._clocks = [_TrackClock(track) for track in tracks]
        self._joins: deque[_Join] = deque(maxlen=_MAX_JOINS)
        self._start: float | None = None

    def run(self) -> list[Seconds]:
        """Return how many seconds to add to the time of each packet: one array [n] per stream with n packets."""
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
        elif clock.continues_at(raw + clock.base):
            clock.excursion = None
        elif clock.excursion is None or not clock.continues_at(raw + clock.excursion):
            self._handle_jump(clock, number, raw)
        now = raw + clock.offset
        if clock.last is None or now >= clock.last:
            clock.last = now
            clock.end = now + min(max(float(self._tracks[track].length[number]), 0.0), FORWARD_JUMP)
        self._start = now if self._start is None else self._start

    def _begin(self, clock: _TrackClock, number: int, raw: float) -> None:
        """At the first packet of a stream, set how many seconds are added to the times of this stream.

        At each earlier place where recordings were joined, such a number was found. They are tried, the newest first.
        The first one that brings this stream near the other streams is taken; if none does, the newest.

        Args:
            clock: the corrections of the stream, changed in place.
            number: index of the packet in the stream.
            raw: time that the file states for the packet, seconds.
        """
        others = [other.last for other in self._clocks if other.last is not None]
        offsets = [join.offset for join in self._newest_first()]
        near = [o for o in offsets if others and abs(raw + o - max(others)) <= FORWARD_JUMP]
        clock.base = near[0] if near else offsets[0]
        # The stream begins inside a recording that was joined on.
        joined = bool(others) and not near and raw + clock.base < max(others)
        if joined:
            self._join(clock, raw)
        alone = not others or near or joined
        wrong = clock.correction_of_first_packets(number, None if alone else max(others))
        if wrong is None and not alone and raw + clock.base - max(others) > LONGEST_STILL:
            self._join(clock, raw)
        clock.excursion = None if wrong is None else clock.base + wrong

    def _handle_jump(self, clock: _TrackClock, number: int, raw: float) -> None:
        """Decide why the times jump at a packet, and change the correction of the times accordingly.

        There are four cases, tried in this order:

        1. another stream has made the same jump before: its correction is used;
        2. the jump is temporary: the times continue from before the jump until they come back;
        3. the jump is intended, for example a picture that stands still: the correction stays;
        4. otherwise, two recordings were joined here: the second one follows the end of the first.
        """
        clock.excursion = None
        for join in self._newest_first():
            if join.offset == clock.base:
                continue
            gap = clock.gap(raw + join.offset)
            if gap >= -clock.back and (gap <= FORWARD_JUMP or abs(raw - join.raw) <= FORWARD_JUMP):
                clock.base = join.offset
                return
        if clock.jumps_back_later(number):
            clock.excursion = clock.end - raw
        elif not self._is_meant(clock, raw + clock.base):
            self._join(clock, raw)

    def _join(self, clock: _TrackClock, raw: float) -> None:
        """Let a joined recording, whose times have restarted, begin where the packets so far end.

        Args:
            clock: the corrections of the stream, changed in place.
            raw: time that the file states for the first packet of the joined recording, seconds.
        """
        clock.base = max(other.end for other in self._clocks if other.last is not None) - raw
        self._joins.append(_Join(clock.base, raw))

    def _newest_first(self) -> Iterator[_Join]:
        yield from reversed(self._joins)
        yield _BEGINNING

    def _is_meant(self, clock: _TrackClock, now: float) -> bool:
        """Return whether a forward jump of the times is intended and needs no correction.

        It is, if it is no longer than the file format allows and does not exceed the duration in the file's header.

        Args:
            clock: the corrections of the stream.
            now: time after the jump, corrected as before it, seconds.
        """
        gap = clock.gap(now)
        if gap < 0 or gap > (FORWARD_JUMP if self._restarts else LONGEST_STILL):
            return False
        assert self._start is not None
        return self._longest is None or now - self._start <= self._longest + DURATION_MARGIN
