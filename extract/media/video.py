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
    """Return (length of the shorter side, crop) that a request needs. Requests with equal pairs share their pictures.

    The crop is left out if the picture keeps its original size, because such a picture can be cropped later at no cost.
    """
    return (kind.side, ref.crop if kind.side else None)


def instants(kind: PictureRequest, times: Times, keys: Times, ref: MediaRef, longest: float) -> Times:
    """Return the times in a clip at which a request takes a picture, seconds.

    Args:
        kind: the request.
        times: when the file's pictures begin, seconds.
        keys: when the file's keyframes begin, seconds.
        ref: the media reference of the clip.
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
    """Return how many different pictures a clip should give for the requested times.

    The result is the number of requested times, or the number of pictures that begin in the clip if that is smaller:
    two requested times may fall into the time of one picture.

    Args:
        at: the requested times as returned by `instants`; times after the end of the file do not count.
        times: when the file's pictures begin, seconds.
        ref: the media reference of the clip.
        longest: a longer clip is cut after this many seconds.
    """
    start, end = _bounds(times, ref, longest)
    begun = len(_pictures_within(times, start, end))
    inside = int((at < times[-1] + picture_period(times)).sum())
    return max(1, min(begun, inside))


def _bounds(times: Times, ref: MediaRef, longest: float) -> tuple[float, float]:
    """Return start and end of a clip, seconds in the file; without stated times, those of the file's pictures."""
    start = float(times[0]) if ref.start is None else ref.start
    end = float(times[-1]) + picture_period(times) if ref.end is None else ref.end
    return start, min(end, start + longest)


def pick_evenly(values: Times, count: int) -> Times:
    """Choose at most `count` of the values, at equal distances in the list."""
    if len(values) <= count:
        return values
    chosen: Times = values[np.arange(count) * len(values) // count + len(values) // (2 * count)]
    return chosen


def complete_keyframes(keys: Times, centres: Times, count: int) -> Times:
    """Return exactly `count` times for pictures: those of keyframes, completed by other times if necessary.

    If there are too many keyframes, `count` of them are chosen at equal distances in the list. If there are too few,
    times from `centres` are added one by one: always the one farthest from all times chosen so far, or the earliest
    of several.

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
    """Return when the pictures inside a time span begin.

    If none begins there, return the picture on screen at its start.
    """
    inside: Times = times[(times >= start - _TOLERANCE) & (times < end - _TOLERANCE)]
    return inside if len(inside) else shown_at(times, np.array([start]))


def _successive(times: Times, kind: PictureRequest) -> Times:
    assert kind.count is not None
    first = max(0, (len(times) - kind.count) // 2) if kind.rule == "middle" else 0
    run: Times = times[first : first + kind.count]
    return run


def _in_centre_window(start: float, end: float, window: float, count: int) -> Times:
    """Return `count` times in the middle `window` seconds of a clip, on AVT-CA's grid of 30 pictures per second.

    Source: docs/papers/avtca.md, section 3.3.
    """
    first = start + max(0.0, (end - start - window) / 2)
    steps = pick_evenly(np.arange(round(window * AVTCA_RATE), dtype=np.float64), count)
    found = first + (steps + 0.5) / AVTCA_RATE
    inside: Times = found[found < end]
    return inside if len(inside) else np.array([start])


def shown_at(times: Times, wanted: Times) -> Times:
    """Return when those pictures begin that are on screen at the wanted times. Each picture is returned once.

    A time before the first picture gives the first picture.
    """
    rank = np.searchsorted(times, wanted + _TOLERANCE, side="right") - 1
    chosen: Times = times[np.unique(np.maximum(rank, 0))]
    return chosen


def grid(start: float, end: float, every: float) -> Times:
    """Return the n times `start + (j + 0.5) * every`, j = 0, 1, ..., between `start` and `end`, seconds, [n].

    If the interval is shorter than `every / 2`, return its middle.

    Raises:
        ValueError: `end` lies before `start`, or `every` is not positive.
    """
    if every <= 0 or end < start:
        raise ValueError(f"no grid from {start} to {end} s in steps of {every} s")
    count = int(np.floor((end - start) / every + 0.5 + _TOLERANCE))
    if not count:
        return np.array([(start + end) / 2])
    return np.asarray(start + (np.arange(count) + 0.5) * every, np.float64)
