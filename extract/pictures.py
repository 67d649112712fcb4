"""Pictures of a clip: which ones, how FFmpeg is asked for them, and how its stream of bytes is cut."""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.reasons import Missing, Reason
from extract.decode import Output
from extract.encoders.base import Pictures
from extract.probe import Probe
from extract.tracking import grid

Times = NDArray[np.float64]
Image = NDArray[np.uint8]
Crop = tuple[float, float, float, float]
Branch = tuple[int | None, Crop | None]  # shorter side, and the crop where it must come before the scaling

GRID: Final = 30  # pictures a second, on which AVT-CA counts whatever the clip's own rate
_EQUAL: Final = 1e-6  # times are rounded sums
# Without the exact flags, swscale rounds differently from one processor to the next.
_FLAGS: Final = "bilinear+accurate_rnd+full_chroma_int+bitexact"
_SHOWN: Final = re.compile(
    r"^\[showinfo@p(\d+) @ \w+\] \[info\] n: *\d+ pts: *\S+ pts_time: *([-+.e\d]+) .* s:(\d+)x(\d+) ",
    re.MULTILINE,
)


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
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    start = float(times[0]) if ref.start is None else ref.start
    end = float(times[-1]) + period if ref.end is None else ref.end
    if start > end or start >= times[-1] + period:
        raise Missing(Reason.NO_VIDEO, f"pictures end at {times[-1] + period:.2f} s")
    end = min(end, start + longest)
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


def evenly(values: Times, count: int) -> Times:
    """At most so many of some values, evenly taken: the middle of each of `count` stretches of them."""
    if len(values) <= count:
        return values
    chosen: Times = values[np.arange(count) * len(values) // count + len(values) // (2 * count)]
    return chosen


def completed(keys: Times, centres: Times, count: int) -> Times:
    """Exactly `count` instants: keys, evenly taken, or all keys and the centres farthest from what is chosen.

    Source: AMuSE, the choice of keyframes in specs/amuse.md 3.2; of equally far centres the earliest.
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
    """Instants in the middle of a stretch, on the grid of AVT-CA (specs/avtca.md 3.3)."""
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


def picture_outputs(source: Any, branches: Mapping[Branch, Times], facts: Probe) -> list[Output]:
    """Outputs of RGB pictures, one a branch.

    Pictures are named by their time, not their number: a damaged one does not shift those after it.
    """
    gaps = np.diff(facts.frame_times)
    slack = min(0.001, float(gaps.min()) / 4) if gaps.size else 0.001
    last = max(float(times[-1]) for times in branches.values()) + facts.origin
    # A second more: the filter rounds its end to the ticks of the stream, which may be as long as a picture.
    trimmed = source[f"V:{facts.video_rank}"].filter("trim", end=f"{last + 1:.7f}")
    split = trimmed.filter_multi_output("split", len(branches)) if len(branches) > 1 else None
    outputs: list[Output] = []
    for n, ((side, crop), times) in enumerate(branches.items()):
        wanted = times + facts.origin
        terms = "+".join(f"between(t,{t - slack:.7f},{t + slack:.7f})" for t in wanted)
        stream = (split[n] if split else trimmed).filter("select", terms)
        if crop is not None:
            stream = _rgb(stream).filter("crop", *_crop_terms(crop), exact=1)
        stream = _rgb(stream, side).filter(f"showinfo@p{n}", checksum=0)
        options = {"format": "rawvideo", "fps_mode": "passthrough", "frames:v": len(times)}
        outputs.append((stream, options))
    return outputs


def _rgb(stream: Any, side: int | None = None) -> Any:
    size = {}
    if side is not None:
        size = {
            "w": f"if(lte(iw,ih),{side},trunc({side}*iw/ih))",
            "h": f"if(lte(iw,ih),trunc({side}*ih/iw),{side})",
        }
    return stream.filter("scale", flags=_FLAGS, **size).filter("format", "rgb24")


def _crop_terms(crop: Crop) -> tuple[str, str, str, str]:
    """Width, height, left and top, rounded as `cropped` rounds."""
    x0, y0, x1, y1 = crop
    left, top = f"min(round({x0}*iw),iw-1)", f"min(round({y0}*ih),ih-1)"
    return f"max(round({x1}*iw),{left}+1)-{left}", f"max(round({y1}*ih),{top}+1)-{top}", left, top


def cut(output: bytes, said: str, branch: int, times: Times, origin: float) -> dict[float, Image]:
    """Pictures [height, width, 3] by their time; sizes and times are what the decoder reported for each."""
    pictures: dict[float, Image] = {}
    offset = 0
    for number, seconds, width, height in _SHOWN.findall(said):
        if int(number) != branch:
            continue
        size = int(width) * int(height) * 3
        if offset + size > len(output):
            break
        image = np.frombuffer(output, np.uint8, size, offset).reshape(int(height), int(width), 3)
        offset += size
        shown = float(times[np.abs(times + origin - float(seconds)).argmin()])
        pictures.setdefault(shown, image)
    return pictures


def cropped(image: Image, crop: Crop | None) -> Image:
    """A part of a picture, at least one pixel."""
    if crop is None:
        return image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return image[top : max(round(y1 * height), top + 1), left : max(round(x1 * width), left + 1)].copy()
