"""Recordings as the field has them: joined, damaged, late, long, of odd shape; what is decodable is read and told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Reason
from extract.media import Clip, Span, read_spans
from extract.media.probe import Probe, probe
from extract.media.types import PictureRequest
from tests.support.media_makers import (
    FPS,
    LIMITS,
    RATE,
    RGB,
    SIZE,
    X264,
    join,
    level,
    pictures,
    read_frames,
    run,
    tone,
    wave,
)  # fmt: skip

CASES = Path(__file__).parents[4] / "shared" / "cases"
with_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason="needs ../shared/cases (small inputs of the field)"
)
KIND = PictureRequest(6)
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p", "-r", "25")


def recording(path: Path, seconds: int, *options: str) -> Path:
    """Numbered pictures, and sound whose loudness tells the time: it rises by 0.01 a second."""
    video = pictures(path.with_name("v.mkv"), seconds * FPS)
    rising = tone(seconds) * 2 * rise(0, seconds)
    run("-i", str(video), "-i", str(wave(path.with_name("a.wav"), rising)), *options, str(path))
    return path


def rise(start: float, end: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 0.05 + 0.01 * np.linspace(start, end, round((end - start) * RATE), endpoint=False)


def read(path: Path, *bounds: tuple[float | None, float | None], kind: PictureRequest = KIND) -> list[Clip]:
    spans = [Span(MediaRef(path.name, *both), (kind,), (RATE,)) for both in bounds]
    return read_spans(path, spans, LIMITS)


def seen(clip: Clip) -> list[tuple[float, int]]:
    assert clip.no_pictures is None, clip.no_pictures
    return [(f.time, round(float(f.image.mean()))) for frames in clip.pictures.values() for f in frames]


def right_pictures(clip: Clip, start: float, shift: float = 0.0) -> None:
    """Each picture is the one of its time; `shift` is what was cut out of the recording before it."""
    for at, grey in seen(clip):
        rank = (at + shift - start) * FPS
        # At 25 pictures a second, each of ours is there two or three times.
        ranks = {round(rank), round(rank - 0.5), round(rank - 0.9)}
        assert min(abs(grey - level(k)) for k in ranks) <= 5, at


def loudness(clip: Clip) -> tuple[float, float]:
    """Of the first and of the last quarter second: the times at which the recording was that loud."""
    assert clip.no_sound is None, clip.no_sound
    sound = clip.sounds[RATE]
    ends = (float(np.abs(part).max()) for part in (sound[: RATE // 4], sound[-RATE // 4 :]))
    first, last = ((peak - 0.05) / 0.01 for peak in ends)
    return first, last


# --- any number of pictures


def test_280_pictures_of_40_stretches_are_the_right_ones(tmp_path: Path) -> None:
    path = pictures(tmp_path / "talk.mp4", 400)
    kind = PictureRequest(7)
    clips = read(path, *((n * 1.0, n + 1.0) for n in range(40)), kind=kind)
    for n, clip in enumerate(clips):
        expected = [n + int((k + 0.5) / 7 * 10 + 1e-6) / 10 for k in range(7)]
        assert [at for at, _ in seen(clip)] == pytest.approx(expected) and not clip.notes
        right_pictures(clip, 0.0)


def test_every_picture_of_a_file_can_be_asked_for_at_once(tmp_path: Path) -> None:
    path = pictures(tmp_path / "talk.mp4", 500)
    (clip,) = read(path, (None, None), kind=PictureRequest(1000))
    assert len(seen(clip)) == 500
    right_pictures(clip, 0.0)


@with_cases
def test_the_case_of_many_pictures() -> None:
    path = CASES / "many-pictures" / "talk.mp4"
    end = probe(path, LIMITS).pictures_end
    assert end is not None
    clips = read(path, *((n * end / 16, (n + 1) * end / 16) for n in range(16)), kind=PictureRequest(7))
    assert all(len(seen(clip)) > 1 and not clip.notes for clip in clips)


# --- streams that begin late


@pytest.mark.parametrize("suffix", ["mpg", "ts", "flv", "mkv", "mp4"])
@pytest.mark.parametrize("beyond", [False, True])
def test_sound_that_begins_late_is_heard(tmp_path: Path, suffix: str, beyond: bool) -> None:
    """Also where the pictures have ended by then."""
    seconds = 5 if beyond else 50
    video, sound = pictures(tmp_path / "v.mkv", seconds * FPS), wave(tmp_path / "a.wav", tone(8))
    codecs = {"flv": ("-c:v", "flv1", "-c:a", "mp3", "-ar", "22050"), "mpg": (*MPEG2, "-c:a", "mp2")}.get(
        suffix, (*X264, "-c:a", "aac")
    )
    path = tmp_path / f"late.{suffix}"
    run("-i", str(video), "-itsoffset", "40", "-i", str(sound), *codecs, str(path))
    before, within = read(path, (1.0, 3.0), (42.0, 44.0))
    assert len(seen(before)) == 6
    assert before.no_sound is not None and before.no_sound.reason is Reason.NO_AUDIO
    assert within.no_sound is None and len(within.sounds[RATE]) == pytest.approx(2 * RATE, abs=40)
    assert (within.no_pictures is not None) == beyond


@pytest.mark.parametrize("suffix", ["mpg", "ts"])
def test_pictures_that_begin_late_are_seen(tmp_path: Path, suffix: str) -> None:
    video, sound = pictures(tmp_path / "v.mkv", 80), wave(tmp_path / "a.wav", tone(50))
    path = tmp_path / f"late.{suffix}"
    order = ("-i", str(sound), "-itsoffset", "40", "-i", str(video), "-map", "0", "-map", "1")
    run(*order, "-vf", "fps=25", "-fps_mode", "passthrough", *MPEG2[:-2], "-c:a", "mp2", str(path))
    before, within = read(path, (1.0, 3.0), (42.0, 44.0))
    assert len(seen(before)) == 1 and len(before.sounds[RATE]) == 2 * RATE
    assert len(seen(within)) == 6
    right_pictures(within, float(probe(path, LIMITS).frame_times[0]))


def test_a_stream_that_shows_only_in_the_second_recording_is_heard_there(tmp_path: Path) -> None:
    """MPEG-PS: nothing said before that there would be sound."""
    video = pictures(tmp_path / "v.mkv", 300)
    run("-i", str(video), *MPEG2, str(tmp_path / "one.mpg"))
    two = join(tmp_path / "two.mpg", tmp_path / "one.mpg", wave(tmp_path / "a.wav", tone(30)), "-c:a", "mp2")
    path = tmp_path / "both.mpg"
    path.write_bytes((tmp_path / "one.mpg").read_bytes() + two.read_bytes())
    first, second = read(path, (5.0, 7.0), (35.0, 37.0))
    assert len(seen(first)) == len(seen(second)) == 6
    assert first.no_sound is not None and len(second.sounds[RATE]) == 2 * RATE


# --- clocks


def cluster_times(data: bytes) -> list[int]:
    """Where the times of the clusters of a Matroska file stand (2 bytes each)."""
    found, at = [], data.find(b"\x1f\x43\xb6\x75")
    while at >= 0:
        time = data.find(b"\xe7\x82", at, at + 24)
        if time >= 0:
            found.append(time + 2)
        at = data.find(b"\x1f\x43\xb6\x75", at + 4)
    return found


@pytest.mark.parametrize("bit", [0x80, 0x40, 0x20, 0x10])
@pytest.mark.parametrize("which", [2, -1])
def test_a_flipped_bit_in_the_time_of_a_cluster_costs_nothing(tmp_path: Path, bit: int, which: int) -> None:
    """From 4 s to 33 s ahead or back, for a second."""
    path = recording(tmp_path / "a.mkv", 20, "-c", "copy", "-cluster_time_limit", "1000")
    whole = read(path, (None, None), (2.0, 4.0), (8.0, 9.0), (17.0, 19.0), (19.2, 20.0))
    data = bytearray(path.read_bytes())
    data[cluster_times(data)[which]] ^= bit
    path.write_bytes(data)
    for right, found in zip(whole, read(path, (None, None), (2.0, 4.0), (8.0, 9.0), (17.0, 19.0), (19.2, 20.0)),
                            strict=True):  # fmt: skip
        times = np.array([at for at, _ in seen(right)])
        fewer = len(times) - len(seen(found))
        assert fewer in (0, 1)  # two pictures may come to lie at one time, which a note tells
        assert list(found.notes.values()) in ([], ["frames 5 of 6"][:fewer])
        assert all(np.abs(times - at).min() <= 0.11 for at, _ in seen(found))
        right_pictures(found, 0.0)
        assert len(found.sounds[RATE]) == pytest.approx(len(right.sounds[RATE]), abs=RATE // 10)
        assert loudness(found) == pytest.approx(loudness(right), abs=0.3)


@pytest.mark.parametrize("which", ["shown", "decoded", "both"])
@pytest.mark.parametrize("bit", [0x08, 0x02])
def test_a_flipped_bit_in_the_time_of_one_picture_costs_nothing(tmp_path: Path, bit: int, which: str) -> None:
    """3 or 13 hours, in the header of a packet of MPEG-TS."""
    path = recording(tmp_path / "a.ts", 20, *X264, "-c:a", "aac")
    right = read(path, (None, None), (8.0, 12.0))
    data = bytearray(path.read_bytes())
    heads = [
        at
        for at in range(len(data) - 20)
        if data[at : at + 4] == b"\0\0\1\xe0" and data[at + 7] & 0xC0 == 0xC0
    ]
    at = heads[len(heads) // 2]
    for place, kinds in ((at + 9, ("shown", "both")), (at + 14, ("decoded", "both"))):
        data[place] ^= bit if which in kinds else 0
    path.write_bytes(data)
    for found, whole in zip(read(path, (None, None), (8.0, 12.0)), right, strict=True):
        assert not found.notes and len(seen(found)) == 6
        assert [t for t, _ in seen(found)] == pytest.approx([t for t, _ in seen(whole)], abs=0.11)
        assert loudness(found) == pytest.approx(loudness(whole), abs=0.1)
        right_pictures(found, float(probe(path, LIMITS).frame_times[0]))


@pytest.mark.parametrize("gap", [0.0, 1000.0, -7.0])
@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_recordings_that_were_joined_are_one_and_stay_together(
    tmp_path: Path, gap: float, suffix: str
) -> None:
    codecs = (*X264, "-c:a", "aac") if suffix == "ts" else (*MPEG2, "-c:a", "mp2")
    one = recording(tmp_path / f"one.{suffix}", 12, *codecs)
    path, two = tmp_path / f"both.{suffix}", one
    if gap > 0:
        two = tmp_path / f"two.{suffix}"
        run("-i", str(one), "-c", "copy", "-output_ts_offset", str(gap), str(two))
    elif gap < 0:
        two, one = one, tmp_path / f"two.{suffix}"
        run("-i", str(two), "-c", "copy", "-output_ts_offset", str(-gap), str(one))
    path.write_bytes(one.read_bytes() + two.read_bytes())
    facts = probe(path, LIMITS)
    assert facts.repaired and facts.sound_end == pytest.approx(24.2, abs=0.5)
    begin = second_recording(facts)
    first, second, across = read(path, (3.0, 5.0), (begin + 3, begin + 5), (begin - 2, begin + 2))
    for clip, shift in ((first, float(facts.frame_times[0])), (second, begin)):
        assert not clip.notes and len(seen(clip)) == 6 and len(clip.sounds[RATE]) == 2 * RATE
        assert loudness(clip) == pytest.approx((3.2, 5.0), abs=0.4)
        right_pictures(clip, shift)
    assert len(seen(across)) == 6 and len(across.sounds[RATE]) > 3.5 * RATE


def second_recording(facts: Probe) -> float:
    """When the second of two like recordings begins."""
    times = facts.frame_times
    return float(times[len(times) // 2])


def test_a_clock_that_wraps_is_counted_from_its_beginning(tmp_path: Path) -> None:
    one = recording(tmp_path / "one.ts", 12, *X264, "-c:a", "aac")
    path = tmp_path / "wrap.ts"
    run("-i", str(one), "-c", "copy", "-output_ts_offset", "95436", str(path))
    (clip,) = read(path, (5.0, 9.0))
    assert len(seen(clip)) == 6 and len(clip.sounds[RATE]) == 4 * RATE
    assert loudness(clip) == pytest.approx((5.2, 9.0), abs=0.3)
    right_pictures(clip, float(probe(path, LIMITS).frame_times[0]))


def test_a_gap_that_a_file_means_is_kept(tmp_path: Path) -> None:
    """A picture that stands still for 20 s."""
    path, still = tmp_path / "still.mkv", "setpts='if(gte(N,50),PTS+20/TB,PTS)'"
    video = pictures(tmp_path / "v.mkv", 100)
    run("-i", str(video), "-vf", still, "-fps_mode", "vfr", *X264, str(path))
    facts = probe(path, LIMITS)
    assert not facts.repaired and facts.pictures_end == pytest.approx(30, abs=0.2)
    ((during,), (after,)) = (seen(c) for c in read(path, (10.0, 12.0), (27.0, 27.1), kind=PictureRequest(1)))
    assert during == (pytest.approx(4.9), pytest.approx(level(49), abs=5))
    assert after == (pytest.approx(27.0), pytest.approx(level(70), abs=5))


# --- damage


@pytest.mark.parametrize("place", ["middle", "end"])
def test_a_transport_stream_with_a_hole_is_read_around_it(tmp_path: Path, place: str) -> None:
    path = recording(tmp_path / "a.ts", 20, *X264, "-c:a", "aac", "-muxrate", "800k")
    data = path.read_bytes()
    at = len(data) // 2 // 188 * 188
    zeros = bytes(70_000)
    path.write_bytes(data[:at] + zeros + data[at:] if place == "middle" else data + zeros)
    whole, early, late = read(path, (None, None), (2.0, 4.0), (16.0, 18.0))
    for clip in (whole, early, late):
        assert len(seen(clip)) == 6 and not clip.no_sound
    for clip in (early, late):
        assert not clip.notes and len(clip.sounds[RATE]) == 2 * RATE
        right_pictures(clip, float(probe(path, LIMITS).frame_times[0]))


def test_what_a_hole_in_the_data_took_is_told(tmp_path: Path) -> None:
    """70 kB overwritten: about two seconds are lost, and whoever asks for them hears of it."""
    path = recording(tmp_path / "a.ts", 20, *X264, "-g", "5", "-c:a", "aac", "-muxrate", "300k")
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + 70_000] = bytes(70_000)
    path.write_bytes(data)
    early, lost, late = read(path, (2.0, 4.0), (9.0, 13.0), (16.0, 18.0))
    assert len(seen(early)) == len(seen(late)) == 6 and not early.notes and not late.notes
    assert lost.no_sound is None and len(lost.sounds[RATE]) < 3.9 * RATE


@pytest.mark.parametrize(("suffix", "options"), [("mkv", ()), ("mp4", ("-movflags", "+faststart"))])
def test_a_file_that_ends_before_its_header_says_so_is_told(
    tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    path = recording(tmp_path / f"a.{suffix}", 20, *X264, "-g", "10", "-c:a", "aac", *options)
    data = path.read_bytes()
    path.write_bytes(data[: int(0.6 * len(data))])
    whole, early, beyond = read(path, (None, None), (1.0, 3.0), (18.0, 19.0))
    assert len(seen(whole)) == 6 and not whole.no_sound
    assert all(
        "the file ends at" in whole.notes[m] and "of 20" in whole.notes[m] for m in ("visual", "audio")
    )
    assert not early.notes and len(seen(early)) == 6
    assert beyond.no_pictures is not None and beyond.no_sound is not None


# --- each medium has its own end


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_sound_beyond_the_pictures_is_heard(tmp_path: Path, suffix: str) -> None:
    video, sound = pictures(tmp_path / "v.mkv", 40), wave(tmp_path / "a.wav", tone(12))
    path = join(tmp_path / f"a.{suffix}", video, sound)
    whole, across, beyond = read(path, (None, None), (3.0, 5.0), (8.0, 10.0))
    assert len(whole.sounds[RATE]) == pytest.approx(12 * RATE, abs=2100) and not whole.notes
    assert len(across.sounds[RATE]) == len(beyond.sounds[RATE]) == 2 * RATE and not across.notes
    assert 0 < len(seen(across)) <= 6 and beyond.no_pictures is not None
    assert beyond.no_pictures.reason is Reason.NO_VIDEO


@with_cases
def test_the_case_of_sound_beyond_pictures() -> None:
    (beyond,) = read(CASES / "sound-beyond-pictures" / "talk.mp4", (8.0, 10.0))
    assert len(beyond.sounds[RATE]) == 2 * RATE


# --- shape


def anamorphic(path: Path, shape: str, *options: str, sar: str = "setsar") -> Path:
    """A white square in the middle of a picture whose pixels have some shape; as shown it is a square."""
    width, height = (int(part) for part in shape.split("/"))
    image = np.zeros((*SIZE, 3), np.uint8)
    across = round(24 * height / width)
    image[12:36, (SIZE[1] - across) // 2 : (SIZE[1] + across) // 2] = 255
    made = path.with_name("coded.mkv")
    run(*RGB, "-i", "-", "-vf", f"{sar}={shape}", *X264, str(made), data=image.tobytes() * 5)
    run(*options, "-i", str(made), "-c", "copy", str(path))
    return path


def square(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> tuple[int, int]:
    """Width and height of what is white."""
    white = image.mean(axis=2) > 128
    return int(white.any(axis=0).sum()), int(white.any(axis=1).sum())


@pytest.mark.parametrize(
    ("shape", "turned", "size"),
    [
        ("64/45", False, (91, 48)), ("16/11", False, (93, 48)), ("8/9", False, (64, 54)), ("1/2", False, (64, 96)),
        ("64/45", True, (48, 91)), ("8/9", True, (54, 64)), ("1/1", False, (64, 48)),
    ],
)  # fmt: skip
def test_pictures_have_the_shape_in_which_they_are_shown(
    tmp_path: Path, shape: str, turned: bool, size: tuple[int, int]
) -> None:
    path = anamorphic(tmp_path / "a.mp4", shape, *(("-display_rotation", "90") if turned else ()))
    (frame,) = read_frames(path, MediaRef("a.mp4"), 1, LIMITS)
    assert frame.image.shape[:2] == size[::-1]
    width, height = square(frame.image)
    assert abs(width - height) <= 2

    small, part = PictureRequest(1, side=96), MediaRef("a.mp4", crop=(0.1, 0.0, 0.9, 1.0))
    (whole, cut) = read_spans(
        path, [Span(MediaRef("a.mp4"), (small,)), Span(part, (small, PictureRequest(1)))], LIMITS
    )
    for clip, kind, ratio in ((whole, small, 1.0), (cut, small, 0.8), (cut, PictureRequest(1), 0.8)):
        (frame,) = clip.pictures[kind]
        width, height = square(frame.image)
        assert abs(width - height) <= 4 and width > 10
        if kind is small:
            assert min(frame.image.shape[:2]) == 96
        assert frame.image.shape[1] / frame.image.shape[0] == pytest.approx(
            ratio * size[0] / size[1], rel=0.05
        )


def test_a_shape_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    path = anamorphic(tmp_path / "a.mp4", "1/1")
    data = path.read_bytes()
    made = tmp_path / "odd.mkv"
    run("-i", str(path), "-vf", "setsar=100/1", *X264, str(made))
    (frame,) = read_frames(made, MediaRef("odd.mkv"), 1, LIMITS)
    assert data and frame.image.shape[:2] == SIZE


@with_cases
def test_the_case_of_anamorphic_pictures() -> None:
    (frame,) = read_frames(CASES / "anamorphic" / "pal16x9.mp4", MediaRef("x"), 1, LIMITS)
    height, width = frame.image.shape[:2]
    assert width / height == pytest.approx(16 / 9, rel=0.03)


# --- sound of the corpus


@with_cases
@pytest.mark.parametrize(
    ("name", "seconds"),
    [("chained-ogg/chained.ogg", 4.0), ("nist-sphere/a.wav", None), ("mp3-without-length/talk.mp3", None)],
)
def test_cases_of_sound_are_heard_to_their_end(name: str, seconds: float | None) -> None:
    path = CASES / name
    facts = probe(path, LIMITS)
    end = facts.sound_end
    assert end is not None and facts.audio_rate
    (clip,) = read_spans(path, [Span(MediaRef("x"), rates=(RATE,))], Limits(seconds=60, duration=600))
    assert clip.no_sound is None and not clip.notes
    assert len(clip.sounds[RATE]) / RATE == pytest.approx(seconds or end, abs=0.1)


@with_cases
def test_the_case_of_opposite_channels() -> None:
    (clip,) = read_spans(CASES / "antiphase" / "antiphase.wav", [Span(MediaRef("x"), rates=(RATE,))], LIMITS)
    assert (
        clip.no_sound is None and np.abs(clip.sounds[RATE]).max() > 0.01 and "opposite" in clip.notes["audio"]
    )


@with_cases
@pytest.mark.parametrize("name", ["wma/talk.wma", "m2ts/talk.m2ts", "opus/talk.opus", "amr/talk.amr"])
def test_cases_of_suffixes_are_heard(name: str) -> None:
    clips: Sequence[Clip] = read_spans(
        CASES / "suffixes" / name, [Span(MediaRef("x"), rates=(RATE,))], LIMITS
    )
    assert clips[0].no_sound is None and len(clips[0].sounds[RATE]) > RATE / 2
