"""What is passed over, sought over or not decoded changes nothing of what is read: it equals a reading of everything."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.params import Limits
from extract.media import Stretch, clip, read_stretches, recording
from extract.media.scaling import Scaler
from extract.media.types import Pictures
from tests.extract.media_makers import RATE, run

LIMITS = Limits(seconds=60)
SECONDS = 24
PICTURES = ("-f", "lavfi", "-i", f"testsrc2=size=80x48:rate=10:duration={SECONDS}")
# Noise that swells: any shift, and any block that a decoder has not settled for, is a difference.
SOUND = ("-f", "lavfi", "-i", f"anoisesrc=r=16000:a=0.3:seed=7:d={SECONDS},volume='0.2+0.01*t':eval=frame")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-threads", "1")

# fmt: off
CODECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "x264, pyramid": ("mp4", (*X264, "-bf", "5", "-g", "50", "-x264-params", "b-pyramid=normal:b-adapt=0")),
    "x264, 16 B": ("mkv", (*X264, "-bf", "16", "-g", "100", "-x264-params", "b-pyramid=none:b-adapt=0")),
    "x264, open": ("mkv", (*X264, "-bf", "3", "-g", "30", "-x264-params", "open-gop=1:b-adapt=0:scenecut=0")),
    "x264, open, ts": ("ts", (*X264, "-bf", "3", "-g", "30", "-x264-params", "open-gop=1:b-adapt=0:scenecut=0")),
    "x264, refreshed": ("mkv", (*X264, "-g", "50", "-x264-params", "intra-refresh=1:bframes=0")),
    "x264, refreshed, ts": ("ts", (*X264, "-g", "50", "-x264-params", "intra-refresh=1:bframes=0")),
    "mpeg-2": ("mpg", ("-c:v", "mpeg2video", "-bf", "2", "-g", "20", "-r", "25", "-q:v", "4")),
    "mpeg-2, ts": ("ts", ("-c:v", "mpeg2video", "-bf", "2", "-g", "20", "-r", "25", "-q:v", "4")),
    "mpeg-4": ("avi", ("-c:v", "mpeg4", "-bf", "2", "-g", "30", "-q:v", "4")),
    "xvid, packed": ("avi", ("-c:v", "libxvid", "-bf", "2", "-g", "30", "-q:v", "4")),
    "hevc": ("mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                     "log-level=0:pools=1:bframes=4:b-pyramid=1:keyint=40")),
    "vp9": ("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "1",
                     "-lag-in-frames", "16", "-g", "50")),
    "av1": ("mkv", ("-c:v", "libsvtav1", "-preset", "12", "-crf", "40", "-g", "50", "-svtav1-params", "lp=1")),
    "mjpeg": ("avi", ("-c:v", "mjpeg", "-q:v", "4")),
}
# fmt: on


@dataclass(frozen=True)
class All:
    """A file, and all of its pictures by their times."""

    path: Path
    pictures: dict[int, NDArray[np.uint8]]


def decoded(path: Path) -> dict[int, NDArray[np.uint8]]:
    """Milliseconds from the start -> picture, when everything is decoded."""
    scaler = Scaler((None, None), Fraction(1))
    with av.open(str(path), container_options={"fflags": "+genpts"}) as container:
        container.streams.video[0].codec_context.thread_count = 1
        origin = max(0, container.start_time or 0) / av.time_base
        frames = [f for f in container.decode(video=0) if f.pts is not None]
        times = sorted(f.time for f in frames)  # decoders give pictures in the order in which they are shown
        return {round(1000 * (t - origin)): scaler.picture(f) for t, f in zip(times, frames, strict=True)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the file of a codec, once."""
    folder = tmp_path_factory.mktemp("codecs")

    @cache
    def make(name: str) -> All:
        suffix, codec = CODECS[name]
        path = folder / f"{list(CODECS).index(name)}.{suffix}"
        run(*PICTURES, "-pix_fmt", "yuv420p", *codec, str(path))
        return All(path, decoded(path))

    return make


stretches = st.lists(
    st.tuples(st.floats(0, SECONDS - 1), st.floats(0.05, 6), st.integers(1, 5)), min_size=1, max_size=4
)


@pytest.mark.parametrize("name", CODECS)
@settings(
    max_examples=5,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(wanted=stretches)
def test_pictures_are_those_of_a_decoding_of_everything(
    files: Any, name: str, wanted: list[tuple[float, float, int]]
) -> None:
    whole: All = files(name)
    asked = [
        Stretch(MediaRef("x", at, at + length), (Pictures(count), Pictures(3, rule="first")))
        for at, length, count in wanted
    ]
    for stretch, found in zip(asked, read_stretches(whole.path, asked, LIMITS), strict=True):
        assert found.no_pictures is None and not found.notes, (stretch, found.no_pictures, found.notes)
        for frames in found.pictures.values():
            for frame in frames:
                right = whole.pictures[round(1000 * frame.time)]
                assert (frame.image == right).all(), f"{frame.time}: another picture"
