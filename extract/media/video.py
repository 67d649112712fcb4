"""Pictures of a clip: which ones a rule asks for, by the times at which the pictures of the file begin."""

from typing import Final

import numpy as np

from ercache.manifest import MediaRef
from ercache.reasons import Missing, Reason
from extract.media.probe import period_of
from extract.media.types import Pictures, Times

Crop = tuple[float, float, float, float]
Branch = tuple[int | None, Crop | None]  # shorter side, and the crop where it must come before the scaling

GRID: Final = 30  # pictures a second, on which AVT-CA counts whatever the clip's own rate
_EQUAL: Final = 1e-6  # times are rounded sums


def branch_of(kind: Pictures, ref: MediaRef) -> Branch:
    """Pictures of one branch are filtered alike; a crop of pictures in their own size costs nothing later."""
    return (kind.side, ref.crop if kind.side else None)


def instants(kind: Pictures, times: Times, keys: Times, ref: MediaRef, longest: float) -> Times:
    """The instants of a clip that a rule asks for, seconds.

    Args:
        times: at which the file's pictures begin.
        keys: at which those begin that are coded alone.
        longest: seconds of a stretch that are looked at.

    Raises:
        Missing: the clip has no picture in this stretch.
    """
    start, end = _bounds(times, ref, longest)
    last = float(times[-1]) + period_of(times)
    if start > end or start >= last:
        raise Missing(Reason.NO_VIDEO, f"pictures end at {last:.2f} s")
    if kind.every is not None:
        found = grid(start, end, kind.every)
        return found if kind.count is None else evenly(found, kind.count)
    assert kind.count is not None
    if kind.rule in ("middle", "first"):
        return _successive(_within(times, start, end), kind)
    centres = np.asarray(start + (np.arange(kind.count) + 0.5) / kind.count * (end - start), np.float64)
    if kind.rule == "keys":
        inside = keys[(keys >= start - _EQUAL) & (keys < end - _EQUAL)]
        return completed(inside, centres, kind.count)
    if kind.window is not None:
        return _of_window(start, end, kind.window, kind.count)
    return centres


def asked_for(at: Times, times: Times, ref: MediaRef, longest: float) -> int:
    """How many pictures there are at some instants where none stands still: not more than begin in the stretch.

    Args:
        at: what a rule asks for, as `instants` gives it; those beyond the end of the file ask for nothing.
    """
    start, end = _bounds(times, ref, longest)
    begun = len(_within(times, start, end))
    inside = int((at < times[-1] + period_of(times)).sum())
    return max(1, min(begun, inside))


def _bounds(times: Times, ref: MediaRef, longest: float) -> tuple[float, float]:
    """Beginning and end of a stretch, seconds."""
    start = float(times[0]) if ref.start is None else ref.start
    end = float(times[-1]) + period_of(times) if ref.end is None else ref.end
    return start, min(end, start + longest)


def evenly(values: Times, count: int) -> Times:
    """At most so many of some values, evenly taken: the middle of each of `count` stretches of them."""
    if len(values) <= count:
        return values
    chosen: Times = values[np.arange(count) * len(values) // count + len(values) // (2 * count)]
    return chosen


def completed(keys: Times, centres: Times, count: int) -> Times:
    """Exactly `count` instants: keys, evenly taken, or all keys and the centres farthest from what is chosen.

    Source: AMuSE, the choice of keyframes in docs/papers/amuse.md, section 3.2; of equally far centres the earliest.
    """
    if len(keys) >= count:
        return np.asarray(keys[np.round(np.linspace(0, len(keys) - 1, count)).astype(int)], np.float64)
    chosen = list(keys)
    while len(chosen) < count:
        gaps = np.abs(centres[:, None] - np.array(chosen)[None]).min(axis=1) if chosen else np.ones(count)
        chosen.append(float(centres[gaps.argmax()]))
    return np.sort(np.array(chosen, np.float64))


def _within(times: Times, start: float, end: float) -> Times:
    """Beginnings of the pictures of a stretch; of one shorter than a picture, the picture on show."""
    inside: Times = times[(times >= start - _EQUAL) & (times < end - _EQUAL)]
    return inside if len(inside) else shown_at(times, np.array([start]))


def _successive(times: Times, kind: Pictures) -> Times:
    assert kind.count is not None
    first = max(0, (len(times) - kind.count) // 2) if kind.rule == "middle" else 0
    run: Times = times[first : first + kind.count]
    return run


def _of_window(start: float, end: float, window: float, count: int) -> Times:
    """Instants in the middle of a stretch, on the grid of AVT-CA (docs/papers/avtca.md, section 3.3)."""
    first = start + max(0.0, (end - start - window) / 2)
    steps = evenly(np.arange(round(window * GRID), dtype=np.float64), count)
    found = first + (steps + 0.5) / GRID
    inside: Times = found[found < end]
    return inside if len(inside) else np.array([start])


def shown_at(times: Times, wanted: Times) -> Times:
    """Beginnings of the pictures on show at some instants, each once; before the first picture, the first."""
    rank = np.searchsorted(times, wanted + _EQUAL, side="right") - 1
    chosen: Times = times[np.unique(np.maximum(rank, 0))]
    return chosen


def grid(start: float, end: float, every: float) -> Times:
    """Instants `start + (j + 0.5) * every` inside a stretch, seconds, [n]; the middle of a stretch shorter than that.

    Raises:
        ValueError: the stretch ends before it starts, or `every` is not positive.
    """
    if every <= 0 or end < start:
        raise ValueError(f"no grid from {start} to {end} s in steps of {every} s")
    count = int(np.floor((end - start) / every + 0.5 + _EQUAL))
    if not count:
        return np.array([(start + end) / 2])
    return np.asarray(start + (np.arange(count) + 0.5) * every, np.float64)
