"""What is passed over, sought over or not decoded changes nothing: all is as when everything is read."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from extract.media import Clip, Span, clip, read_spans, recording
from extract.media.probe import probe
from extract.media.scaling import Scaler
from extract.media.types import PictureRequest
from tests.support.media_makers import RATE, run

LIMITS = Limits(seconds=60)
SECONDS = 24
PICTURES = ("-f", "lavfi", "-i", f"testsrc2=size=80x48:rate=10:duration={SECONDS}")
# Noise that swells: any shift, and any block that a decoder has not settled for, is a difference.
SOUND = ("-f", "lavfi", "-i", f"anoisesrc=r=16000:a=0.3:seed=7:d={SECONDS},volume='0.2+0.01*t':eval=frame")
# Wide, so that a new picture has come together only seconds after its key.
REFRESHED = ("-vf", "scale=640:32", "-x264-params", "intra-refresh=1:bframes=0")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-threads", "1")

# fmt: off
CODECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "x264, pyramid": ("mp4", (*X264, "-bf", "5", "-g", "50", "-x264-params", "b-pyramid=normal:b-adapt=0")),
    "x264, 16 B": ("mkv", (*X264, "-bf", "16", "-g", "100", "-x264-params", "b-pyramid=none:b-adapt=0")),
    "x264, open": ("mkv", (*X264, "-bf", "3", "-g", "30", "-x264-params", "open-gop=1:b-adapt=0:scenecut=0")),
    "x264, open, ts": ("ts", (*X264, "-bf", "3", "-g", "30", "-x264-params", "open-gop=1:b-adapt=0:scenecut=0")),
    "x264, refreshed": ("mkv", (*X264, "-g", "50", *REFRESHED)),
    "x264, refreshed, ts": ("ts", (*X264, "-g", "50", *REFRESHED)),
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
    """A file, and all of its pictures by their times.

    Attributes:
        doubtful: times near two pictures that the file gives one time (an MPEG program stream at its key pictures).
    """

    path: Path
    pictures: dict[int, NDArray[np.uint8]]
    doubtful: frozenset[int]


def decoded(path: Path) -> All:
    """A file with milliseconds from the start -> picture, when everything is decoded."""
    scaler = Scaler((None, None), Fraction(1))
    with av.open(str(path), container_options={"fflags": "+genpts"}) as container:
        container.streams.video[0].codec_context.thread_count = 1
        origin = max(0, container.start_time or 0) / av.time_base
        frames = [f for f in container.decode(video=0) if f.pts is not None]
        times = sorted(f.time for f in frames)  # decoders give pictures in the order in which they are shown
        ticks = [round(1000 * (t - origin)) for t in times]
        doubled = [a for a, b in pairwise(ticks) if a == b]
        near = frozenset(t for t in ticks if any(abs(t - d) <= 100 for d in doubled))
        return All(path, {t: scaler.picture(f) for t, f in zip(ticks, frames, strict=True)}, near)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the file of a codec, once."""
    folder = tmp_path_factory.mktemp("codecs")

    @cache
    def make(name: str) -> All:
        suffix, codec = CODECS[name]
        path = folder / f"{list(CODECS).index(name)}.{suffix}"
        run(*PICTURES, "-pix_fmt", "yuv420p", *codec, str(path))
        return decoded(path)

    return make


spans = st.lists(
    st.tuples(st.floats(0, SECONDS - 1), st.floats(0.05, 6), st.integers(1, 5)), min_size=1, max_size=4
)


@pytest.mark.parametrize("name", CODECS)
@settings(
    max_examples=5,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(wanted=spans)
def test_pictures_are_those_of_a_decoding_of_everything(
    files: Any, name: str, wanted: list[tuple[float, float, int]]
) -> None:
    whole: All = files(name)
    asked = [
        Span(MediaRef("x", at, at + length), (PictureRequest(count), PictureRequest(3, rule="first")))
        for at, length, count in wanted
    ]
    first = min(whole.pictures) / 1000
    for (at, length, count), found in zip(wanted, read_spans(whole.path, asked, LIMITS), strict=True):
        assert found.no_pictures is None, (at, length, found.no_pictures)
        # There are fewer pictures where the file begins later, or where two of the times see the same picture.
        if at >= first and length > 0.1 * count and length > 0.3:
            assert not found.notes, (at, length, count, found.notes)
        for frames in found.pictures.values():
            for frame in frames:
                tick = round(1000 * frame.time)
                if tick not in whole.doubtful:
                    assert (frame.image == whole.pictures[tick]).all(), f"{frame.time}: another picture"


# fmt: off
VIDEO = ("-pix_fmt", "yuv420p", *X264, "-bf", "2", "-g", "20")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "20", "-r", "25", "-q:v", "4")
# Container, its codecs, and whether it can be sought over.
CONTAINERS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "mp4": ("mp4", (*VIDEO, "-c:a", "aac"), True),
    "fragmented mp4": ("mp4", (*VIDEO, "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"), True),
    "long groups": ("mp4", (*X264, "-pix_fmt", "yuv420p", "-g", "1000", "-x264-params", "scenecut=0", "-c:a", "aac"),
                    True),
    "mkv": ("mkv", (*VIDEO, "-c:a", "libvorbis"), True),
    "mkv without cues": ("mkv", (*VIDEO, "-c:a", "libopus", "-f", "matroska", "-live", "1"), True),
    "webm": ("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30", "-c:a", "libopus"),
             True),
    "avi": ("avi", ("-c:v", "mpeg4", "-bf", "2", "-g", "20", "-q:v", "4", "-c:a", "mp3"), True),
    "ts": ("ts", (*VIDEO, "-c:a", "aac"), True),
    "ts, mpeg-2": ("ts", (*MPEG2, "-c:a", "mp2"), True),
    "m2ts": ("m2ts", (*VIDEO, "-c:a", "ac3"), True),
    "flv": ("flv", ("-c:v", "flv1", "-q:v", "4", "-g", "20", "-c:a", "mp3", "-ar", "22050"), True),
    "flv, h264": ("flv", (*VIDEO, "-c:a", "aac"), True),
    "mpg": ("mpg", (*MPEG2, "-c:a", "mp2"), True),
    "wmv": ("wmv", ("-c:v", "wmv2", "-q:v", "4", "-g", "20", "-c:a", "wmav2"), False),
    "wav": ("wav", ("-vn",), True),
    "mp3": ("mp3", ("-vn", "-c:a", "libmp3lame", "-q:a", "4"), False),
    "ogg": ("ogg", ("-vn", "-c:a", "libvorbis"), False),
    "opus": ("opus", ("-vn", "-c:a", "libopus"), False),
    "flac": ("flac", ("-vn", "-c:a", "flac"), False),
    "m4a": ("m4a", ("-vn", "-c:a", "aac"), True),
}
# fmt: on


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the file of a container, once."""
    folder = tmp_path_factory.mktemp("containers")

    @cache
    def make(name: str) -> Path:
        suffix, options, _ = CONTAINERS[name]
        path = folder / f"{list(CONTAINERS).index(name)}.{suffix}"
        run(*PICTURES, *SOUND, *options, str(path))
        return path

    return make


def test_some_files_have_what_the_tests_are_about(files: Any) -> None:
    """Keys other than the first from which decoding may begin, and pictures that no other needs."""
    for name in CODECS:
        assert probe(files(name).path, LIMITS).video.keys.sum() > 2, name


def both(at: float, length: float) -> Span:
    return Span(MediaRef("x", at, at + length), (PictureRequest(2),), (RATE,))


def same(some: list[Clip], others: list[Clip], off: float) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.no_pictures == other.no_pictures or str(one.no_pictures) == str(other.no_pictures)
        assert str(one.no_sound) == str(other.no_sound) and one.notes == other.notes
        for kind, frames in one.pictures.items():
            assert [f.time for f in frames] == [f.time for f in other.pictures[kind]]
            assert all((a.image == b.image).all() for a, b in zip(frames, other.pictures[kind], strict=True))
        for rate, sound in one.sounds.items():
            assert sound.shape == other.sounds[rate].shape
            np.testing.assert_allclose(sound, other.sounds[rate], atol=off)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_file_that_is_sought_in_gives_what_one_read_through_gives(
    containers: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = containers(name)
    asked = [both(5.3, 0.8), both(20.03, 1.5), both(13.1, 0.7), both(13.4, 2.0)]
    heard = [replace(span, pictures=()) for span in asked]
    clip._probes_of_process.cache_clear()
    through = [read_spans(path, some, LIMITS) for some in (asked, asked[1:2], heard, heard[2:3])]
    alone = [found for span in asked for found in read_spans(path, [span], LIMITS)]
    # WMA fills what it left out with noise, which goes on from where it was.
    off = 2e-3 if name == "wmv" else 1e-4
    same(through[0], alone, off)
    assert all(found.no_sound is None for found in through[0])
    sought, anew = spied(monkeypatch, "_LargeFileReader", "_seek"), spied(monkeypatch, "Recording", "rewind")
    monkeypatch.setattr(recording, "MAX_KEPT_BYTES", 0)
    monkeypatch.setattr(recording, "MIN_SEEK_SECONDS", 2.0)
    for known in (False, True):
        if not known:
            clip._probes_of_process.cache_clear()
        for some, right in zip((asked, asked[1:2], heard, heard[2:3]), through, strict=True):
            same(read_spans(path, some, LIMITS), right, off)
    assert bool(sought) == CONTAINERS[name][2]
    assert len(anew) <= 1, "a seek led astray"


def spied(monkeypatch: pytest.MonkeyPatch, owner: str, name: str) -> list[object]:
    """Notes each call of a method."""
    calls: list[object] = []
    kind = getattr(recording, owner)
    method = getattr(kind, name)

    def noted(self: object, *arguments: object) -> object:
        calls.append(arguments)
        return method(self, *arguments)

    monkeypatch.setattr(kind, name, noted)
    return calls
