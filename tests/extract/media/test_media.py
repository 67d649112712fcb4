"""Media: the right picture, the true mix, and a reason (never a hang, never a crash) for everything else."""

import os
import socket
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media import Clip, Span, read_spans
from extract.media.audio import resample
from extract.media.files import check_file
from extract.media.probe import probe
from extract.media.types import PictureRequest
from tests.support.media_makers import (
    FPS,
    LIMITS,
    RATE,
    RGB,
    SIZE,
    X264,
    close,
    join,
    level,
    numbered,
    pictures,
    read_frames,
    read_sound,
    reason_of,
    run,
    shown,
    tone,
    wave,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 20 numbered pictures and a tone."""
    folder = tmp_path_factory.mktemp("clip")
    return join(folder / "clip.mp4", pictures(folder / "v.mp4", 20), wave(folder / "a.wav", tone(2)))


@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [
        ("h264.mp4", X264, 0.0),
        ("lossless.mkv", ("-c:v", "ffv1"), 0.0),
        (
            "delayed.avi",
            ("-c:v", "mpeg4", "-q:v", "1", "-bf", "2"),
            0.1,
        ),  # avi cannot say when a picture is shown
        ("late.ts", (*X264, "-muxdelay", "1"), 0.0),  # its first timestamp is not 0
    ],
)
def test_the_picture_at_the_centre_of_each_stretch_is_read(
    tmp_path: Path, name: str, codec: tuple[str, ...], first: float
) -> None:
    path = pictures(tmp_path / name, 20, *codec)
    close(shown(path, 5), numbered(2, 6, 10, 14, 18), first)
    close(shown(path, 2, MediaRef(name, first + 0.55, first + 0.95)), numbered(6, 8), first)
    close(shown(path, 50), numbered(*range(20)), first)
    assert probe(path, LIMITS).frame_times == pytest.approx(first + np.arange(20) / FPS)


def test_a_stretch_far_inside_a_long_file_is_read_alike(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40 * RATE)
    video, sound = pictures(tmp_path / "v.mkv", 400), wave(tmp_path / "a.wav", noise)
    path = tmp_path / "long.mkv"
    run("-i", str(video), "-i", str(sound), "-c", "copy", str(path))
    ref = MediaRef(path.name, 30.0, 31.0)
    close(shown(path, 5, ref), numbered(301, 303, 305, 307, 309))
    heard, rate = read_sound(path, ref, LIMITS)
    assert rate == RATE and np.abs(heard - noise[30 * RATE : 31 * RATE]).max() < 1e-3
    beyond = MediaRef(path.name, 50.0, 51.0)
    assert reason_of(lambda: read_frames(path, beyond, 3, LIMITS)) is Reason.NO_VIDEO
    assert reason_of(lambda: read_sound(path, beyond, LIMITS)) is Reason.NO_AUDIO


def test_long_stretches_are_cut_at_the_limit(clip: Path) -> None:
    short = Limits(seconds=20, duration=1)
    close(shown(clip, 2, limits=short), numbered(2, 7))
    heard, rate = read_sound(clip, MediaRef(clip.name), short)
    assert len(heard) == rate


def test_crop_and_rotation_are_honoured(tmp_path: Path) -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, : SIZE[1] // 2, 0] = 255
    path = tmp_path / "halves.mp4"
    run(*RGB, "-i", "-", *X264, str(path), data=image.tobytes() * 3)
    (frame,) = read_frames(path, MediaRef(path.name, crop=(0.0, 0.0, 0.5, 1.0)), 1, LIMITS)
    assert frame.image.shape == (48, 32, 3) and frame.image.dtype == np.uint8
    assert frame.image[..., 0].mean() > 200 and frame.image.flags.owndata
    turned = tmp_path / "turned.mp4"
    run("-display_rotation", "90", "-i", str(path), "-c", "copy", str(turned))
    (frame,) = read_frames(turned, MediaRef(turned.name), 1, LIMITS)
    assert frame.image.shape == (64, 48, 3) and frame.image[40:, :, 0].mean() > 200


def test_pictures_above_the_limit_are_refused(clip: Path) -> None:
    small = Limits(pixels=100)
    assert reason_of(lambda: read_frames(clip, MediaRef(clip.name), 1, small)) is Reason.TOO_LARGE


def test_speech_in_the_centre_channel_is_heard(tmp_path: Path) -> None:
    voice, other = tone(1), tone(1, 90)
    surround = np.zeros((RATE, 6))
    surround[:, 2], surround[:, 4] = voice, other
    heard, rate = read_sound(wave(tmp_path / "s.wav", surround, layout="5.1"), MediaRef("s.wav"), LIMITS)
    mix = voice + 0.5 * other
    assert rate == RATE and np.corrcoef(heard, mix)[0, 1] > 0.999


def test_equal_channels_are_as_loud_as_one(tmp_path: Path) -> None:
    loud = 1.9 * tone(1)
    heard, _ = read_sound(
        wave(tmp_path / "s.wav", np.stack([loud, loud], 1), layout="stereo"), MediaRef("s"), LIMITS
    )
    assert np.abs(heard - loud).max() < 1e-3 and np.abs(heard).max() <= 1


def test_resampling_keeps_pitch_and_length() -> None:
    heard = resample(tone(1).astype(np.float32), RATE, 44_100)
    assert heard.dtype == np.float32 and len(heard) == 44_100
    assert np.abs(np.fft.rfft(heard)).argmax() == 440


@pytest.mark.parametrize(
    "name", ["-i.mp4", "a b.mp4", 'it\'s "it".mp4', "new\nline.mp4", "%03d.mp4", "http:x,y.mp4", "ü[1].mp4"]
)
def test_no_character_of_a_name_has_a_meaning(tmp_path: Path, clip: Path, name: str) -> None:
    (tmp_path / name).write_bytes(clip.read_bytes())
    path = check_file(tmp_path, MediaRef(name))
    close(shown(path, 1), numbered(10))
    assert read_sound(path, MediaRef(name), LIMITS)[1] == RATE


def test_what_is_no_medium_has_a_reason(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "root").mkdir()
    root = tmp_path / "root"
    (root / "empty.mp4").touch()
    (root / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    os.mkfifo(root / "pipe.mp4")
    (root / "out.mp4").symlink_to(clip)
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "folder.mp4").mkdir()
    expected = {
        "empty.mp4": Reason.EMPTY_FILE,
        "pointer.mp4": Reason.GIT_LFS_POINTER,
        "pipe.mp4": Reason.NOT_A_FILE,
        "folder.mp4": Reason.NOT_A_FILE,
        "out.mp4": Reason.OUTSIDE_ROOT,
        "../clip.mp4": Reason.OUTSIDE_ROOT,
        str(clip): Reason.OUTSIDE_ROOT,
        "gone.mp4": Reason.ABSENT,
        "loop.mp4": Reason.ABSENT,
        "absent/x.mp4": Reason.ABSENT,
        "x" * 5000: Reason.ABSENT,
    }
    found = {name: reason_of(lambda name=name: check_file(root, MediaRef(name))) for name in expected}  # type: ignore[misc]
    assert found == expected
    assert reason_of(lambda: read_sound(root / "pipe.mp4", MediaRef("pipe.mp4"), LIMITS)) is Reason.NOT_A_FILE


def test_a_playlist_opens_no_other_file_and_no_connection(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(clip.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
        texts = {
            "hls.m3u8": playlist.format("other.mp4"),
            "hls.mp4": playlist.format(url),
            "list.ffconcat": "ffconcat version 1.0\nfile other.mp4\n",
            "list.mp4": f"ffconcat version 1.0\nfile {url}\n",
            "session.sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
            "plain.mp4": "these are no pictures\n" * 100,
        }
        for name, text in texts.items():
            path = tmp_path / name
            path.write_text(text)
            for read in (
                lambda p: read_frames(p, MediaRef(p.name), 2, LIMITS),
                lambda p: read_sound(p, MediaRef(p.name), LIMITS),
            ):
                assert reason_of(lambda read=read, path=path: read(path)) is Reason.UNREADABLE  # type: ignore[misc]
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_file_with_one_medium_gives_that_medium(tmp_path: Path, clip: Path) -> None:
    silent, deaf = tmp_path / "deaf.mp4", tmp_path / "blind.m4a"
    run("-i", str(clip), "-an", "-c", "copy", str(silent))
    run("-i", str(clip), "-vn", "-c", "copy", str(deaf))
    assert reason_of(lambda: read_sound(silent, MediaRef("x"), LIMITS)) is Reason.NO_AUDIO
    assert reason_of(lambda: read_frames(deaf, MediaRef("x"), 1, LIMITS)) is Reason.NO_VIDEO
    assert (
        len(read_frames(silent, MediaRef("x"), 4, LIMITS)) == 4
        and read_sound(deaf, MediaRef("x"), LIMITS)[1] == RATE
    )


def test_silence_cover_art_and_single_pictures(tmp_path: Path, clip: Path) -> None:
    quiet = wave(tmp_path / "quiet.wav", np.zeros(RATE))
    assert reason_of(lambda: read_sound(quiet, MediaRef("x"), LIMITS)) is Reason.SILENT
    picture, song = tmp_path / "cover.jpg", tmp_path / "song.mp3"
    run("-i", str(clip), "-frames:v", "1", str(picture))
    run(
        "-i",
        str(clip),
        "-i",
        str(picture),
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
        str(song),
    )
    assert reason_of(lambda: read_frames(song, MediaRef("x"), 1, LIMITS)) is Reason.NO_VIDEO
    assert reason_of(lambda: read_frames(picture, MediaRef("x"), 1, LIMITS)) is Reason.UNREADABLE
    not_numbers = wave(tmp_path / "nan.wav", np.full(RATE, np.nan), codec="pcm_f32le")
    assert reason_of(lambda: read_sound(not_numbers, MediaRef("x"), LIMITS)) is Reason.UNREADABLE


def outcome(path: Path) -> list[str]:
    """What reading a damaged file gives; any exception but `Missing` fails the test."""
    found = []
    for read in (
        lambda: read_frames(path, MediaRef(path.name), 3, LIMITS),
        lambda: read_sound(path, MediaRef(path.name), LIMITS),
    ):
        try:
            found.append(f"{len(read())} read")
        except Missing as missing:
            assert missing.reason in (
                Reason.UNREADABLE,
                Reason.NO_AUDIO,
                Reason.NO_VIDEO,
                Reason.TOO_LARGE,
                Reason.SILENT,
            )
            assert str(path.parent) not in missing.detail
            found.append(missing.reason.value)
    return found


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("head", [False, True])
def test_truncated_files_give_what_decodes_or_a_reason(
    tmp_path: Path, clip: Path, fraction: float, head: bool
) -> None:
    whole = tmp_path / "whole.mp4"
    run("-i", str(clip), "-c", "copy", *(("-movflags", "+faststart") if head else ()), str(whole))
    content = whole.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: int(len(content) * fraction)])
    found = outcome(path)
    if not head:  # the table of contents stands at the end, and is gone
        assert found == ["unreadable", "unreadable"]
    elif fraction == 0.9:
        assert found[0].endswith("read") and found[1].endswith("read")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_give_a_result_or_a_reason(tmp_path: Path, clip: Path, data: st.DataObject) -> None:
    content = bytearray(clip.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=40)):
        content[place] ^= 1 << (place % 8)
    path = tmp_path / "flipped.mp4"
    path.write_bytes(content)
    outcome(path)


@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 3e-4, 1e-3])
def test_too_little_time_is_never_taken_for_a_fault_of_the_file(clip: Path, seconds: float) -> None:
    span = Span(MediaRef("x"), (PictureRequest(3),), (RATE,))
    for _ in range(5):
        (found,) = read_spans(clip, [span], Limits(seconds=seconds))
        for fault, got in ((found.no_pictures, found.pictures), (found.no_sound, found.sounds)):
            assert got if fault is None else fault.reason is Reason.TIMEOUT
    assert seconds > 1e-5 or fault is not None


def clip_of(path: Path, *spans: Span) -> list[Clip]:
    return read_spans(path, spans, LIMITS)


def test_pictures_and_sound_read_together_are_those_read_apart(clip: Path) -> None:
    ref, kind = MediaRef(clip.name, 0.35, 1.6), PictureRequest(4)
    (both,) = clip_of(clip, Span(ref, (kind,), (RATE, 8000)))
    (seen,) = clip_of(clip, Span(ref, (kind,)))
    (heard,) = clip_of(clip, Span(ref, rates=(8000, RATE)))
    assert [f.time for f in both.pictures[kind]] == [f.time for f in seen.pictures[kind]]
    for a, b in zip(both.pictures[kind], seen.pictures[kind], strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    for rate in (RATE, 8000):
        np.testing.assert_array_equal(both.sounds[rate], heard.sounds[rate])
        assert len(both.sounds[rate]) == round(1.25 * rate)


def test_stretches_of_one_file_are_read_in_one_pass_as_if_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = join(tmp_path / "long.mkv", pictures(tmp_path / "v.mp4", 400), wave(tmp_path / "a.wav", tone(40)))
    bounds = [(30.0, 31.5), (12.2, 14.0), (13.1, 13.9), (25.05, 25.05), (39.0, 50.0), (60.0, 61.0)]
    spans = [Span(MediaRef("long.mkv", a, b), (PictureRequest(3),), (RATE,)) for a, b in bounds]
    alone = [clip_of(path, s)[0] for s in spans]
    passes: list[object] = []
    whole = av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: passes.append(a) or whole(*a, **k))
    together = clip_of(path, *spans)
    assert len(passes) == 1
    for one, other in zip(together, alone, strict=True):
        assert [f.time for f in one.pictures.get(PictureRequest(3), ())] == [
            f.time for f in other.pictures.get(PictureRequest(3), ())
        ]
        assert one.sounds.keys() == other.sounds.keys()
        for rate in one.sounds:
            np.testing.assert_array_equal(one.sounds[rate], other.sounds[rate])
        assert str(one.no_pictures) == str(other.no_pictures) and str(one.no_sound) == str(other.no_sound)
    assert [len(c.sounds.get(RATE, ())) for c in together] == [24_000, 28_800, 12_800, 0, 16_000, 0]


def test_sound_cut_out_of_a_longer_file_is_where_it_was(tmp_path: Path) -> None:
    sound = tone(30) * np.linspace(0.1, 1, 30 * RATE)
    path = wave(tmp_path / "a.wav", sound)
    (piece,) = clip_of(path, Span(MediaRef("a.wav", 20.0, 20.5), rates=(RATE,)))
    expected = sound[20 * RATE : int(20.5 * RATE)]
    assert np.abs(piece.sounds[RATE] - expected).max() < 1e-4


def test_pictures_are_scaled_to_their_shorter_side(tmp_path: Path) -> None:
    path = pictures(tmp_path / "v.mp4", 5)
    ref, cropped = MediaRef("v.mp4"), MediaRef("v.mp4", crop=(0.0, 0.0, 0.25, 1.0))
    native, small = PictureRequest(2), PictureRequest(2, side=24)
    whole, part = clip_of(path, Span(ref, (native, small)), Span(cropped, (native, small)))
    assert [f.image.shape for f in whole.pictures[native]] == [(48, 64, 3)] * 2
    assert [f.image.shape for f in whole.pictures[small]] == [(24, 32, 3)] * 2
    assert [f.image.shape for f in part.pictures[native]] == [(48, 16, 3)] * 2
    assert [f.image.shape for f in part.pictures[small]] == [(72, 24, 3)] * 2
    assert [int(np.median(f.image)) for f in whole.pictures[small]] == [level(1), level(3)]


def test_pictures_of_one_clip_have_a_bound_on_memory(clip: Path) -> None:
    tight = LIMITS.model_copy(update={"megabytes": 0.02})
    assert len(read_frames(clip, MediaRef("x"), 2, tight)) == 2
    assert reason_of(lambda: read_frames(clip, MediaRef("x"), 3, tight)) is Reason.TOO_LARGE
