"""Choose the pictures of a clip that a request asks for, from the times at which the file's pictures begin."""

from typing import Final

import numpy as np

from ercache.manifest import MediaRef
from ercache.reasons import Missing, Reason
from extract.media.probe import picture_period
from extract.media.types import PictureRequest, Times

Crop = tuple[float, float, float, float]
PictureFilter = tuple[
    int | None, Crop | None
]  # shorter side in pixels; crop, if it must come before the scaling

AVTCA_RATE: Final = 30  # pictures per second of AVT-CA's grid, whatever the clip's own rate
_TOLERANCE: Final = 1e-6  # seconds; times are rounded sums


def picture_filter_of(kind: PictureRequest, ref: MediaRef) -> PictureFilter:
    """Return how FFmpeg must scale and crop the pictures of a request; requests with equal results share pictures.

    Returns:
        Two things: length of the shorter side in pixels (None: original size); and the crop as fractions of the
        picture. The crop is None if the original size is kept, because it can then be cut out later at no cost.
    """
    return (kind.side, ref.crop if kind.side else None)


def instants(kind: PictureRequest, times: Times, keys: Times, ref: MediaRef, longest: float) -> Times:
    """Return the times at which a request takes a picture of a clip, in seconds from the start of the file.

    Args:
        kind: the request: how many pictures, and the rule that chooses them.
        times: when the file's pictures begin, seconds.
        keys: when the file's keyframes begin, seconds.
        ref: the file, and the start and end of the clip in it.
        longest: a longer clip is cut after this many seconds.

    Raises:
        Missing: the clip has no picture.
    """
    start, end = _bounds(times, ref, longest)
    last = float(times[-1]) + picture_period(times)
    if start > end or start >= last:
        raise Missing(Reason.NO_VIDEO, f"pictures end at {last:.2f} s")
    if kind.every is not None:
        found = grid(start, end, kind.every)
        return found if kind.count is None else pick_evenly(found, kind.count)
    assert kind.count is not None
    if kind.rule in ("middle", "first"):
        return _successive(_pictures_within(times, start, end), kind)
    centres = np.asarray(start + (np.arange(kind.count) + 0.5) / kind.count * (end - start), np.float64)
    if kind.rule == "keys":
        inside = keys[(keys >= start - _TOLERANCE) & (keys < end - _TOLERANCE)]
        return complete_keyframes(inside, centres, kind.count)
    if kind.window is not None:
        return _in_centre_window(start, end, kind.window, kind.count)
    return centres


def expected_count(at: Times, times: Times, ref: MediaRef, longest: float) -> int:
    """Return how many different pictures the requested times give if no picture is lost; at least 1.

    A clip may have fewer pictures than there are requested times. Then the result is the number of pictures that begin
    in the clip.

    Args:
        at: the requested times as returned by `instants`; times after the end of the file do not count.
        times: when the file's pictures begin, seconds.
        ref: the file, and the start and end of the clip in it.
        longest: a longer clip is cut after this many seconds.
    """
    start, end = _bounds(times, ref, longest)
    begun = len(_pictures_within(times, start, end))
    inside = int((at < times[-1] + picture_period(times)).sum())
    return max(1, min(begun, inside))


def _bounds(times: Times, ref: MediaRef, longest: float) -> tuple[float, float]:
    """Return start and end of a clip, in seconds from the start of the file.

    If `ref` does not state them, the clip starts with the first picture of the file and ends with the last.
    """
    start = float(times[0]) if ref.start is None else ref.start
    end = float(times[-1]) + picture_period(times) if ref.end is None else ref.end
    return start, min(end, start + longest)


def pick_evenly(values: Times, count: int) -> Times:
    """Return `count` of the values, chosen at equal distances in the list; if there are fewer, return all."""
    if len(values) <= count:
        return values
    chosen: Times = values[np.arange(count) * len(values) // count + len(values) // (2 * count)]
    return chosen


def complete_keyframes(keys: Times, centres: Times, count: int) -> Times:
    """Return `count` times at which to take pictures: keyframes, and other times if there are too few keyframes.

    Of too many keyframes, `count` are chosen at equal distances in the list. If there are too few, times from
    `centres` are added one by one: always the one farthest from all times chosen so far.

    Args:
        keys: times at which the keyframes begin, seconds.
        centres: times that may be added, seconds; of equally far ones, the earliest is taken.
        count: number of times to return.

    Source: AMuSE, the choice of keyframes in docs/papers/amuse.md, section 3.2.
    """
    if len(keys) >= count:
        return np.asarray(keys[np.round(np.linspace(0, len(keys) - 1, count)).astype(int)], np.float64)
    chosen = list(keys)
    while len(chosen) < count:
        gaps = np.abs(centres[:, None] - np.array(chosen)[None]).min(axis=1) if chosen else np.ones(count)
        chosen.append(float(centres[gaps.argmax()]))
    return np.sort(np.array(chosen, np.float64))


def _pictures_within(times: Times, start: float, end: float) -> Times:
    """Return the times at which the pictures inside a time span begin.

    If no picture begins inside, return when the picture began that is on screen at the start of the span.
    """
    inside: Times = times[(times >= start - _TOLERANCE) & (times < end - _TOLERANCE)]
    return inside if len(inside) else shown_at(times, np.array([start]))


def _successive(times: Times, kind: PictureRequest) -> Times:
    assert kind.count is not None
    first = max(0, (len(times) - kind.count) // 2) if kind.rule == "middle" else 0
    run: Times = times[first : first + kind.count]
    return run


def _in_centre_window(start: float, end: float, window: float, count: int) -> Times:
    """Return the times at which AVT-CA takes pictures, all from a stretch in the middle of the clip, seconds.

    The stretch is divided into intervals of 1/30 s, and `count` of their centres are chosen evenly. Centres after the
    end of a clip that is shorter than the stretch are left out.

    Args:
        start, end: limits of the clip, seconds.
        window: length of the stretch, seconds.
        count: number of times.

    Source: docs/papers/avtca.md, section 3.3.
    """
    first = start + max(0.0, (end - start - window) / 2)
    steps = pick_evenly(np.arange(round(window * AVTCA_RATE), dtype=np.float64), count)
    found = first + (steps + 0.5) / AVTCA_RATE
    inside: Times = found[found < end]
    return inside if len(inside) else np.array([start])


def shown_at(times: Times, wanted: Times) -> Times:
    """Return the times at which those pictures begin that are on screen at the wanted times; each picture only once.

    Args:
        times: when the file's pictures begin, seconds, sorted.
        wanted: times at which a picture is wanted, seconds; a time before the first picture gives the first picture.
    """
    rank = np.searchsorted(times, wanted + _TOLERANCE, side="right") - 1
    chosen: Times = times[np.unique(np.maximum(rank, 0))]
    return chosen


def grid(start: float, end: float, every: float) -> Times:
    """Divide a stretch of time into intervals of `every` seconds, and return the centres of the n intervals, [n].

    A shorter interval at the end counts if it lasts at least `every / 2` seconds. If the whole stretch is shorter than
    that, the result is its middle.

    Args:
        start, end: limits of the stretch, seconds.
        every: length of an interval, seconds.

    Raises:
        ValueError: `end` lies before `start`, or `every` is not positive.
    """
    if every <= 0 or end < start:
        raise ValueError(f"no grid from {start} to {end} s in steps of {every} s")
    count = int(np.floor((end - start) / every + 0.5 + _TOLERANCE))
    if not count:
        return np.array([(start + end) / 2])
    return np.asarray(start + (np.arange(count) + 0.5) * every, np.float64)
