"""Damage to one time, one packet or one header costs nothing else: each file here is written with slots that lie."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

import extract.media.recording
from ercache.manifest import MediaRef
from ercache.reasons import Reason
from extract.media import Clip, Span, read_spans
from extract.media.types import PictureRequest
from tests.support.hostile_clocks import slots
from tests.support.media_makers import FPS, LIMITS, RATE, RGB, SIZE, X264, run, tone, wave

ALL = PictureRequest(600, rule="first")
SECONDS = 3
FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov", "-g", "10")
WEBM = ("-c:v", "libvpx", "-deadline", "realtime", "-g", "10", "-b:v", "2M", "-c:a", "libvorbis")


def recording(path: Path, *options: str) -> bytes:
    """Three seconds of pictures, each lighter than the one before, with sound."""
    sound = wave(path.with_name("a.wav"), tone(SECONDS))
    frames = b"".join(np.full((*SIZE, 3), 8 * k, np.uint8).tobytes() for k in range(SECONDS * FPS))
    run(*RGB, "-i", "-", "-i", str(sound), *(options or (*X264, "-c:a", "aac")), str(path), data=frames)
    return path.read_bytes()


def read(path: Path, data: bytes) -> Clip:
    path.write_bytes(data)
    (clip,) = read_spans(path, [Span(MediaRef(path.name), (ALL,), (RATE,))], LIMITS)
    return clip


def numbers(clip: Clip) -> list[int]:
    """The numbers of the pictures, by their lightness, in the order of their times."""
    return [round(float(f.image.mean()) / 8) for f in clip.pictures[ALL]]


@pytest.mark.parametrize("place", [8, 9, 10])
@pytest.mark.parametrize("seconds", [-2.0, -1.456])
def test_a_picture_whose_display_time_is_set_back_is_not_shown_first(
    tmp_path: Path, place: int, seconds: float
) -> None:
    path = tmp_path / "a.ts"
    data = bytearray(recording(path))
    heads = [
        n for n in range(len(data) - 20) if data[n : n + 4] == b"\0\0\1\xe0" and data[n + 7] & 0xC0 == 0xC0
    ]
    slot = next(s for s in slots(bytes(data), "ts") if s.at == heads[place] + 9)
    slot.add(data, round(seconds * slot.second))
    assert numbers(read(path, data)) == list(range(30))


def test_a_wrong_decoding_time_does_not_move_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    data = bytearray(recording(path))
    heads = [
        n for n in range(len(data) - 20) if data[n : n + 4] == b"\0\0\1\xe0" and data[n + 7] & 0xC0 == 0xC0
    ]
    slot = next(s for s in slots(bytes(data), "ts") if s.at == heads[3] + 14)
    slot.add(data, round(5.825 * slot.second))
    assert numbers(read(path, data)) == list(range(30))


def test_pictures_beside_a_gap_in_matroska_keep_their_order(tmp_path: Path) -> None:
    """The gap begins at a cluster that is displayed, not only stored, after all before it."""
    path = tmp_path / "a.mkv"
    sane = recording(path, *X264, "-c:a", "aac", "-cluster_time_limit", "100")
    with av.open(str(path)) as container:
        shown = [(p.pos or 0, p.pts or 0) for p in container.demux(video=0) if p.size]
    clusters = [s for s in slots(sane, "mkv") if s.absolute]
    tried = 0
    for n, first in enumerate(clusters):
        before, after = ([t for at, t in shown if (at > first.at) == late] for late in (False, True))
        if not before or not after or min(after) < max(before):
            continue
        tried += 1
        data = bytearray(sane)
        for slot in clusters[n:]:
            slot.add(data, 8000)
        clip = read(path, data)
        assert numbers(clip) == list(range(30)) and not clip.notes
    assert tried > 5


def test_pictures_of_pieces_that_changed_places_are_all_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    data = recording(path, *WEBM, "-cluster_time_limit", "500")
    starts = [n for n in range(len(data)) if data[n : n + 4] == b"\x1f\x43\xb6\x75"]
    first, second, third = starts[1], starts[3], starts[4]
    clip = read(path, data[:first] + data[second:third] + data[first:second] + data[third:])
    assert sorted(numbers(clip)) == list(range(30))


def test_a_wild_time_in_mp4_costs_its_own_picture_at_most(tmp_path: Path) -> None:
    """FFmpeg hides a picture that lies beyond the end of the edit list."""
    path = tmp_path / "a.mp4"
    sane = recording(path, *X264, "-bf", "1", "-c:a", "aac")
    table = sane.index(b"ctts")
    offsets = [s for s in slots(sane, "mp4") if s.at > table and sane[s.at - 4 : s.at] == b"\0\0\0\1"]
    assert len(offsets) > 3
    for offset in offsets:
        data = bytearray(sane)
        offset.add(data, 100_000_000)
        found = numbers(read(path, data))
        assert found == sorted(found) and len(found) >= 29


def test_two_pictures_that_mp4_puts_at_one_time_are_both_seen(tmp_path: Path) -> None:
    """The display time of the third picture, of those stored, is that of the second one."""
    path = tmp_path / "a.mp4"
    data = bytearray(recording(path, *X264, "-bf", "0"))
    at = data.index(b"stts")
    entry = data[at + 4 : at + 16]
    assert entry[4:8] == b"\0\0\0\1"  # all pictures last as long
    length = int.from_bytes(entry[8:12], "big")
    assert length == 30
    table = b"".join(n.to_bytes(4, "big") for n in (10, 1024, 1, 0, 19, 1024))
    box = b"stts" + bytes(4) + (3).to_bytes(4, "big") + table
    clip = read(path, grown(bytes(data), at - 4, box))
    assert numbers(clip) == list(range(30)) and not clip.notes


def grown(data: bytes, at: int, body: bytes) -> bytes:
    """Replace a box of mp4 by a longer one, at the end of the file, and correct the lengths of the boxes around it."""
    old = int.from_bytes(data[at : at + 4], "big")
    more = 4 + len(body) - old
    changed = bytearray(data[:at] + (4 + len(body)).to_bytes(4, "big") + body + data[at + old :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        start = data.rindex(name, 0, at) - 4
        size = int.from_bytes(changed[start : start + 4], "big") + more
        changed[start : start + 4] = size.to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize("bit", [55, 49, 40])
def test_a_wild_clock_of_the_first_fragment_costs_no_sound(tmp_path: Path, bit: int) -> None:
    """The end of the edit list hides what lies before; the sound itself is there."""
    path = tmp_path / "a.mp4"
    data = bytearray(recording(path, *X264, "-c:a", "aac", *FRAGMENTS))
    sound = [s for s in slots(bytes(data), "frag") if s.absolute][1]
    sound.add(data, 1 << bit)
    clip = read(path, data)
    assert numbers(clip) == list(range(30))
    assert clip.no_sound is None and len(clip.sounds[RATE]) > 1.9 * RATE


def without_avcc(data: bytes) -> bytes:
    return data.replace(b"avcC", b"awcC")


def without_private(data: bytes) -> bytes:
    at = data.index(b"\x63\xa2")  # CodecPrivate
    return data[:at] + b"\x63\xa3" + data[at + 2 :]


def without_sequence_header(data: bytes) -> bytes:
    kept, at = bytearray(data[:13]), 13
    while at < len(data):
        end = at + 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
        if not (data[at] == 9 and data[at + 12] == 0):
            kept += data[at:end]
        at = end
    return bytes(kept)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [("mp4", without_avcc), ("mkv", without_private), ("flv", without_sequence_header)],
)
def test_a_damaged_header_of_the_pictures_does_not_cost_the_sound(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a.{suffix}"
    data = damage(recording(path))
    clip = read(path, data)
    assert clip.no_pictures is not None and clip.no_pictures.reason is Reason.UNREADABLE
    assert "header" in clip.no_pictures.detail
    assert len(clip.sounds[RATE]) == pytest.approx(SECONDS * RATE, abs=2100)
    # Nothing is made of what is no recording.
    assert read(path, data[:40] + bytes(1000)).no_sound is not None


@pytest.mark.parametrize("large", [False, True])
def test_a_damaged_table_of_one_stream_does_not_end_the_reading_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Some pieces of one stream lie beyond the end of the file, if one believes their table."""
    if large:
        monkeypatch.setattr(extract.media.recording, "MAX_KEPT_BYTES", 0)
    path = tmp_path / "a.mp4"
    data = bytearray(recording(path))
    for place in range(2):
        damaged = data.copy()
        at = -1
        for _ in range(place + 1):
            at = damaged.index(b"stco", at + 1)
        count = int.from_bytes(damaged[at + 8 : at + 12], "big")
        first = at + 12 + 4 * (count // 3)
        damaged[first : first + 4] = b"\x00\xff\xff\xff"
        clip = read(path, damaged)
        if place:
            assert numbers(clip) == list(range(30)) and "frames" not in clip.notes.get(ALL, "")
            assert "the file ends at" in clip.notes["audio"] and "visual" not in clip.notes
            assert len(clip.sounds[RATE]) < 2 * RATE
        else:
            assert len(clip.sounds[RATE]) > 2.9 * RATE and "audio" not in clip.notes
            assert 0 < len(numbers(clip)) < 30 and "the file ends at" in clip.notes["visual"]


def test_pictures_that_cannot_be_decoded_cost_no_pictures_of_another_kind(tmp_path: Path) -> None:
    """What a feature gets does not depend on what else is asked for."""
    path, one = tmp_path / "a.avi", PictureRequest(1)
    data = bytearray(recording(path, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"))
    frames = [n for n in range(len(data)) if data[n : n + 4] == b"00dc"][:30]
    for at in frames[10:20]:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        data[at + 8 : at + 8 + length] = bytes(length)
    path.write_bytes(data)
    (clip,) = read_spans(path, [Span(MediaRef(path.name), (ALL, one))], LIMITS)
    assert clip.no_pictures is None and len(clip.pictures[ALL]) == 20 and clip.notes[ALL] == "frames 20 of 30"
    assert one not in clip.pictures and clip.undecoded[one].reason is Reason.UNREADABLE
    (alone,) = read_spans(path, [Span(MediaRef(path.name), (one,))], LIMITS)
    assert alone.no_pictures is not None and not alone.undecoded
