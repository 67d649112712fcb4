"""Make small media files whose content shows what was read, and read one time span of them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media import Span, read_spans
from extract.media.probe import probe
from extract.media.types import Frame, PictureRequest

LIMITS = Limits(seconds=20)
RATE, FPS, SIZE = 16_000, 10, (48, 64)
RGB = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE[1]}x{SIZE[0]}", "-r", str(FPS))
X264 = ("-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p", "-bf", "2")


def run(*args: str, data: bytes = b"") -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *args]
    subprocess.run(command, input=data, check=True)


def level(k: int) -> int:
    """Grey level of picture k. Neighbouring pictures differ by much more than the error of a codec."""
    return (k * 37) % 240


def pictures(path: Path, count: int, *codec: str) -> Path:
    frames = [np.full((*SIZE, 3), level(k), np.uint8).tobytes() for k in range(count)]
    run(*RGB, "-i", "-", *(codec or X264), f"file:{path}", data=b"".join(frames))
    return path


def wave(
    path: Path, sound: NDArray[np.float64], rate: int = RATE, layout: str = "mono", codec: str = "pcm_s16le"
) -> Path:
    samples = np.asarray(sound, "<f4")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    given_as = ("-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-channel_layout", layout)
    run(*given_as, "-i", "-", "-c:a", codec, f"file:{path}", data=samples.tobytes())
    return path


def tone(seconds: float, hertz: float = 440) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def join(path: Path, video: Path, sound: Path, *more: str) -> Path:
    run("-i", f"file:{video}", "-i", f"file:{sound}", "-c:v", "copy", "-c:a", "aac", *more, f"file:{path}")
    return path


def read_frames(path: Path, ref: MediaRef, count: int, limits: Limits) -> list[Frame]:
    """Read `count` pictures from one time span of a file. If there are none, raise `Missing` with the reason."""
    (clip,) = read_spans(path, [Span(ref, (PictureRequest(count),))], limits)
    if clip.no_pictures is not None:
        raise clip.no_pictures
    return list(clip.pictures[PictureRequest(count)])


def read_sound(path: Path, ref: MediaRef, limits: Limits) -> tuple[NDArray[np.float32], int]:
    """Read the sound of one time span of a file at its native rate. If there is none, raise `Missing`."""
    rate = native_rate(path)
    (clip,) = read_spans(path, [Span(ref, rates=(rate,))], limits)
    if clip.no_sound is not None:
        raise clip.no_sound
    return clip.sounds[rate], rate


def native_rate(path: Path) -> int:
    try:
        return probe(path, LIMITS).audio_rate or RATE
    except Missing:
        return RATE


def shown(
    path: Path, count: int, ref: MediaRef | None = None, limits: Limits = LIMITS
) -> list[tuple[float, int]]:
    """Read `count` pictures from a file. Return the time and the grey level of each."""
    frames = read_frames(path, ref or MediaRef(path.name), count, limits)
    return [(round(f.time, 3), int(np.median(f.image))) for f in frames]


def numbered(*ks: int) -> list[tuple[float, int]]:
    return [(k / FPS, level(k)) for k in ks]


def close(found: list[tuple[float, int]], wanted: list[tuple[float, int]], first: float = 0.0) -> None:
    assert [t for t, _ in found] == pytest.approx([first + t for t, _ in wanted])
    assert max(abs(a - b) for (_, a), (_, b) in zip(found, wanted, strict=True)) <= 4


def reason_of(call: Callable[[], object]) -> Reason:
    with pytest.raises(Missing) as caught:
        call()
    return caught.value.reason
