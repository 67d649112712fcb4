"""Media files to pictures and sound: the only room that decodes. FFmpeg runs as a process of its own.

Whatever is wrong with a file ends in a `Missing` with a reason and the tool's own words. Nothing here raises
anything else for bad media, waits longer than `limits.seconds`, or opens a file that it was not given.
"""

import contextlib
import math
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import ffmpeg
import imageio_ffmpeg
import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.encoders.base import Frame
from extract.probe import (
    FORMATS,
    LEAD,
    PROTOCOLS,
    Probe,
    check_file,
    location,
    probe,
    probe_sound,
    probe_stretch,
)

__all__ = ["Probe", "check_file", "probe", "read_frames", "read_sound", "resample"]

RATES: Final = range(1_000, 768_001)  # Hz; a header that says otherwise is damaged
# Without the exact flags, swscale rounds differently from one processor to the next.
_TO_RGB: Final = "scale=flags=bilinear+accurate_rnd+full_chroma_int+bitexact,format=rgb24"
# rematrix_maxval: FFmpeg lets a float downmix grow louder than its input unless told otherwise.
_TO_MONO: Final = "aresample=ochl=mono:osf=flt:rematrix_maxval=1"
_SHOWN: Final = re.compile(
    r"^\[Parsed_showinfo_\d+ @ \w+\] \[info\] n: *\d+ pts: *\S+ pts_time: *([-+.e\d]+) .* s:(\d+)x(\d+) ",
    re.MULTILINE,
)
_ERROR: Final = re.compile(r"\[(?:error|fatal|panic)\] ")


def read_frames(path: Path, ref: MediaRef, count: int, limits: Limits) -> list[Frame]:
    """Pictures at the centres of `count` equal stretches of a clip; fewer when the clip has fewer.

    The picture of an instant is the one on show then: the last that began at or before it. Only the first
    `limits.duration` seconds of a longer stretch are looked at. A damaged file gives what decodes.

    Raises:
        Missing: with the reason that there are none.
    """
    facts = probe_stretch(path, ref, limits)
    if facts.width * facts.height > limits.pixels:
        raise Missing(Reason.TOO_LARGE, f"{facts.width} x {facts.height} pixels")
    if not facts.frame_times.size:
        raise Missing(Reason.NO_VIDEO, "no pictures in the file")
    times = shown_at(facts.frame_times, centres(facts.frame_times, ref, count, limits.duration))
    output, said = _decode(path, facts, ref, limits, "V:0", _frame_options(times, facts))
    frames = _cut(output, said, times, facts.origin, ref)
    if not frames:
        large = "exceeds specified max pixel count" in said
        words = _words(said, path) or "no picture could be decoded"
        raise Missing(Reason.TOO_LARGE if large else Reason.UNREADABLE, words)
    return frames


def centres(times: NDArray[np.float64], ref: MediaRef, count: int, longest: float) -> NDArray[np.float64]:
    """The instants at the centres of `count` equal stretches of a clip, seconds, [count].

    Raises:
        Missing: the clip has no picture in this stretch.
    """
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    start = float(times[0]) if ref.start is None else ref.start
    end = float(times[-1]) + period if ref.end is None else ref.end
    if start > end or start >= times[-1] + period:
        raise Missing(Reason.NO_VIDEO, f"pictures end at {times[-1] + period:.2f} s")
    end = min(end, start + longest)
    return start + (np.arange(count) + 0.5) / count * (end - start)


def shown_at(times: NDArray[np.float64], instants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beginnings of the pictures on show at some instants, each once; before the first picture, the first."""
    rank = np.searchsorted(times, instants + 1e-6, side="right") - 1  # both are rounded sums
    chosen: NDArray[np.float64] = times[np.unique(np.maximum(rank, 0))]
    return chosen


def read_sound(path: Path, ref: MediaRef, limits: Limits) -> tuple[NDArray[np.float32], int]:
    """Sound of a clip at its native rate, mixed down from all channels; at most `limits.duration` seconds.

    Returns:
        samples in [-1, 1], [n], and their rate in Hz.

    Raises:
        Missing: with the reason that there is none.
    """
    facts = probe_sound(path, limits)
    if facts.audio_rate is None:
        raise Missing(Reason.NO_AUDIO, "no audio stream in the file")
    if facts.audio_rate not in RATES:
        raise Missing(Reason.UNREADABLE, f"the header says {facts.audio_rate} Hz")
    options = {"af": f"{_trim(ref, facts, limits)},{_TO_MONO}", "format": "f32le", "acodec": "pcm_f32le"}
    output, said = _decode(path, facts, ref, limits, "a:0", options)
    sound = np.frombuffer(bytearray(output[: len(output) // 4 * 4]), "<f4").astype(np.float32, copy=False)
    if not sound.size and not _ERROR.search(said):
        raise Missing(Reason.NO_AUDIO, "the stretch holds no sound")
    if not sound.size:
        raise Missing(Reason.UNREADABLE, _words(said, path))
    if not np.isfinite(sound).all():
        raise Missing(Reason.UNREADABLE, "the samples are not numbers")
    if not sound.any():
        raise Missing(Reason.SILENT, "every sample is 0")
    return sound, facts.audio_rate


def resample(sound: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Sound at another rate, by soxr (HQ); resample once, from the native rate."""
    if rate == target:
        return sound
    return np.asarray(soxr.resample(sound, rate, target, quality="HQ"), np.float32)


def _frame_options(times: NDArray[np.float64], facts: Probe) -> dict[str, Any]:
    """Pictures are named by their time, not their number: a damaged one does not shift those after it."""
    gaps = np.diff(facts.frame_times)
    slack = min(0.001, float(gaps.min()) / 4) if gaps.size else 0.001
    wanted = times + facts.origin
    chosen = "+".join(f"between(t,{t - slack:.7f},{t + slack:.7f})" for t in wanted)
    # A second more: the filter rounds its end to the ticks of the stream, which may be as long as a picture.
    trim = f"trim=end={wanted[-1] + 1:.7f}"
    return {
        "vf": f"{trim},select='{chosen}',{_TO_RGB},showinfo=checksum=0",
        "format": "rawvideo",
        "fps_mode": "passthrough",
        "frames:v": len(times),
    }


def _trim(ref: MediaRef, facts: Probe, limits: Limits) -> str:
    start = (ref.start or 0.0) + facts.origin
    end = min(float("inf") if ref.end is None else ref.end + facts.origin, start + limits.duration)
    head = "" if ref.start is None else f"start={start:.7f}:"
    return f"atrim={head}end={max(end, start):.7f}"


def _decode(
    path: Path, facts: Probe, ref: MediaRef, limits: Limits, stream: str, options: dict[str, Any]
) -> tuple[bytes, str]:
    """What FFmpeg writes and what it says."""
    before: dict[str, Any] = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "fflags": "+genpts",
        "threads": 1,
        "max_pixels": limits.pixels,
    }
    if ref.start is not None and facts.seekable_to(ref.start):
        before |= {
            "seek_timestamp": 1,
            "noaccurate_seek": None,
            "ss": f"{ref.start - LEAD + facts.origin:.6f}",
        }
    command = (
        ffmpeg.input(location(path), **before)[stream]
        .output("pipe:", **options)
        .global_args("-nostdin", "-hide_banner", "-nostats", "-copyts", "-loglevel", "level+info")
        # Should this process be killed, nobody is left to watch the clock.
        .global_args("-timelimit", str(math.ceil(limits.seconds)))
        .compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    )
    return _run(command, limits.seconds)


def _run(command: list[str], seconds: float) -> tuple[bytes, str]:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a group of its own, which can be ended as one
    ) as process:
        try:
            output, said = process.communicate(timeout=seconds)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself just now
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Missing(Reason.TIMEOUT, f"ffmpeg was ended after {seconds:g} s") from error
            raise
    return output, said.decode(errors="replace")


def _cut(output: bytes, said: str, times: NDArray[np.float64], origin: float, ref: MediaRef) -> list[Frame]:
    """Pictures out of the stream of bytes; sizes and times are what the decoder reported for each."""
    frames: dict[float, Frame] = {}
    offset = 0
    for seconds, width, height in _SHOWN.findall(said):
        size = int(width) * int(height) * 3
        if offset + size > len(output):
            break
        image = np.frombuffer(output, np.uint8, size, offset).reshape(int(height), int(width), 3)
        offset += size
        shown = float(times[np.abs(times + origin - float(seconds)).argmin()])
        frames.setdefault(shown, Frame(shown, _crop(image, ref).copy()))
    return list(frames.values())


def _crop(image: NDArray[np.uint8], ref: MediaRef) -> NDArray[np.uint8]:
    if ref.crop is None:
        return image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = ref.crop
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return image[top : max(round(y1 * height), top + 1), left : max(round(x1 * width), left + 1)]


def _words(said: str, path: Path) -> str:
    """The last complaints, without addresses and without the machine's paths."""
    lines = [line for line in said.splitlines() if _ERROR.search(line)]
    told = "; ".join(re.sub(r" @ \w+", "", line) for line in lines[-3:])
    return told.replace(location(path), path.name).replace(str(path.absolute()), path.name)[:500]
