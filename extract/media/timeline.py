"""Sane clocks: when each packet of a file begins, where a damaged or joined file says something else.

A flipped bit sends the time of a packet, or of a block of packets, hours away; recordings that were joined begin again
at 0 or jump. The order in which packets are stored is right all the same, so a clock that jumps is set on from where
the file had come to. A time that is merely late (pictures that stand still, sound that begins later) is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

LEAP: Final = 10.0  # seconds forward that no recording makes by itself; FFmpeg's `dts_delta_threshold`
BACK: Final = 0.5  # seconds back that are more than rounding
REORDER: Final = (
    2.0  # seconds back where only the times of showing are known: pictures are stored out of order
)
_LOOK_AHEAD: Final = 500  # packets in which a clock that left comes back


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
    inside = longest is None or float(times.max() - times[0]) <= longest + LEAP
    # A leap alone may be a picture that stands still; one from which the clock comes back shows as a step back.
    return bool((steps >= -track.back).all() and (steps <= limit).all() and inside)


class _Repair:
    """Walks along the file and sets clocks on where they jump."""

    def __init__(self, tracks: Sequence[Track], restarts: bool, longest: float | None) -> None:
        self._tracks, self._restarts, self._longest = tracks, restarts, longest
        self._offsets = [0.0]  # all that were ever in force, the newest last
        self._current = [0.0] * len(tracks)
        self._last: list[float | None] = [None] * len(tracks)  # where each stream has come to
        self._found = [np.zeros(len(track.time)) for track in tracks]
        starts = [track.time[~np.isnan(track.time)][:1] for track in tracks]
        self._start = min((float(s[0]) for s in starts if len(s)), default=0.0)

    def run(self) -> list[Seconds]:
        """The corrections."""
        order = sorted(
            (
                (int(place), t, n)
                for t, track in enumerate(self._tracks)
                for n, place in enumerate(track.place)
            )
        )
        for _, track, number in order:
            self._step(track, number)
        return self._found

    def _step(self, track: int, number: int) -> None:
        raw = float(self._tracks[track].time[number])
        if not np.isnan(raw):
            self._current[track] = self._offset(track, number, raw)
            now = raw + self._current[track]
            self._last[track] = max(now, self._last[track] or now)
        self._found[track][number] = self._current[track]

    def _offset(self, track: int, number: int, raw: float) -> float:
        """What to add: what was added so far, an older correction that fits, or a new one."""
        for offset in (self._current[track], *reversed(self._offsets)):
            if self._fits(track, raw + offset):
                return offset
        if self._is_late(track, number, raw):
            return self._current[track]
        offset = self._end(track, number) - raw
        self._offsets.append(offset)
        return offset

    def _fits(self, track: int, time: float) -> bool:
        last = self._last[track]
        if last is None:
            last = max((at for at in self._last if at is not None), default=time)
        return -self._tracks[track].back <= time - last <= LEAP

    def _is_late(self, track: int, number: int, raw: float) -> bool:
        """Whether a leap ahead is meant: the container allows it, and the clock does not come back."""
        now, last = raw + self._current[track], self._last[track]
        if self._restarts and last is not None:
            return False
        beyond = self._longest is not None and now - self._start > self._longest + LEAP
        if now < (self._start if last is None else last) or beyond:
            return False
        return not self._returns(track, number, now - LEAP)

    def _returns(self, track: int, number: int, leapt: float) -> bool:
        """Whether the clock comes back from a leap to where it was."""
        ahead = self._tracks[track].time[number + 1 : number + 1 + _LOOK_AHEAD] + self._current[track]
        last = self._last[track]
        since = self._start if last is None else last
        return bool(((ahead < leapt) & (ahead >= since - self._tracks[track].back)).any())

    def _end(self, track: int, number: int) -> float:
        """Where the file had come to when a clock jumped: in this stream when it will come back, else in all."""
        own = self._last[track]
        length = float(self._tracks[track].length[number])
        others = [at for at in self._last if at is not None]
        if own is not None and self._comes_back(track, number):
            return own + length
        return max(others, default=self._start) + (length if own is not None else 0.0)

    def _comes_back(self, track: int, number: int) -> bool:
        ahead = self._tracks[track].time[number + 1 : number + 1 + _LOOK_AHEAD] + self._current[track]
        last = self._last[track]
        return last is not None and bool(((ahead >= last - BACK) & (ahead <= last + LEAP)).any())
