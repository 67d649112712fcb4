"""Whatever lies in a corpus, an extraction ends: each file is read rightly or has its reason, and harms no other."""

import base64
import csv
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.fft import idct

from ercache.cache import CacheFile, Status
from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef, Problem, Utterance, write_manifest
from ercache.reasons import Reason
from tests.e2e.conftest import ROOT, Project
from tests.support.odd_media import (
    HEIGHT,
    MJPEG,
    PCM,
    RATE,
    WIDTH,
    X264,
    Make,
    changed,
    content,
    copied,
    encoded,
    flipped,
    heard,
    link,
    locked,
    material,
    named,
    outside,
    patched,
    permissions_hold,
    pipe,
    seen,
    slow,
    special,
    tones,
    truncated,
    wav,
    zipped,
)

pytestmark = pytest.mark.e2e

LIMIT = 10.0  # seconds for one decoding
BOUND = 150.0  # seconds for the whole run, on 2 cores that do other work as well
HOP = 512 / 22050  # seconds between two rows of `mfcc`
TOLERANCE = 0.13  # seconds: two frames of AAC, which not every container tells to leave out


@dataclass(frozen=True)
class Faces:
    """Numbers of pictures with the face where it is in the first and in the second half of the clip."""

    left: int = 3
    right: int = 3


@dataclass(frozen=True)
class Tones:
    """Seconds of the tone of the first and of the second half of the clip."""

    low: float = 1.0
    high: float = 1.0


@dataclass(frozen=True)
class Lasts:
    """Seconds of sound, whatever it is."""

    seconds: float


# What is left of a damaged file depends on where it was hit; that it is nothing else than this does not.
DAMAGED = frozenset({Reason.UNREADABLE, Reason.NO_VIDEO, Reason.NO_AUDIO, Reason.NO_FACE, Reason.TOO_LARGE})
Expected = Faces | Tones | Lasts | Reason | frozenset[Reason]


@dataclass(frozen=True)
class Kind:
    """One file of the corpus, and what is right to come of it.

    Attributes:
        picture, sound: a reason; what is to be seen and heard; or a set of reasons, besides any part of the clip.
        words: what the detail of the reason says.
        later: what becomes of the file after the scan.
    """

    file: str
    make: Make | None
    picture: Expected = Faces()
    sound: Expected = Tones()
    start: float | None = None
    end: float | None = None
    crop: tuple[float, float, float, float] | None = None
    words: str = ""
    later: Make | None = None


def refused(file: str, make: Make | None, reason: Reason = Reason.UNREADABLE, **more: Any) -> Kind:
    return Kind(file, make, reason, reason, **more)


def damaged(file: str, make: Make) -> Kind:
    return Kind(file, make, DAMAGED, DAMAGED)


def cut(file: str, make: Make, percent: int) -> Kind:
    """The first part of a file that needs no end to be read; most of it gives something, a little may not."""
    expected = DAMAGED if percent < 60 else frozenset()
    return Kind(file, truncated(make, percent / 100), expected, expected)


def only_sound(file: str, make: Make, sound: Expected = Tones(), **more: Any) -> Kind:
    return Kind(file, make, Reason.NO_VIDEO, sound, **more)


def only_pictures(file: str, make: Make, picture: Expected = Faces(), **more: Any) -> Kind:
    return Kind(file, make, picture, Reason.NO_AUDIO, **more)


FIRST = copied("-movflags", "+faststart")  # the index before the media
FRAGMENTED = copied("-movflags", "+frag_keyframe+empty_moov", of=encoded("-g", "5"))
COPY, AVI, WAV = copied(), encoded(*MJPEG, *PCM), wav(tones())
TEXT = base64.b64encode(b"1\n00:00:00,000 --> 00:00:02,000\nHello\n").decode()
SUBTITLES = ("-f", "srt", "-i", f"data:text/plain;base64,{TEXT}")
BLACK = ("-f", "lavfi", "-i", "color=black:s=192x144:r=10:d=2")
COVER = ("-f", "lavfi", "-i", "color=red:s=64x64:r=1:d=1")
ADDED_FIRST = ("-map", "1", "-map", "0", "-map", "2")
NOISE = ("-vf", "noise=alls=4:allf=t")
QUIET = ("-f", "lavfi", "-i", "anullsrc=r=16000:d=2")
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
URL = "http://127.0.0.1:{port}/clip.ts"
LATE = ("-output_ts_offset", "36000")
KEYS = ("-encryption_key", "0" * 32, "-encryption_kid", "1" * 32)
ONE = ("-frames:v", "1")
SIX, WIDE = "6 frames", "20,000 pixels wide"
TURNED, UPSIDE_DOWN = (seen(*X264, "-vf", filters) for filters in ("transpose=1", "hflip,vflip"))
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
SPOILT = np.where(np.arange(2 * RATE) == 20_000, np.nan, tones()).astype(np.float32)

# fmt: off
KINDS: dict[str, Kind] = {
    "good 1": Kind("good/1.mp4", named()),
    # cut off
    **{f"mp4, {p} %": refused(f"end{p}.mp4", truncated(COPY, p / 100)) for p in (1, 50, 99)},
    **{f"mp4 with its index first, {p} %": cut(f"head{p}.mp4", FIRST, p) for p in (1, 10, 40, 70, 95)},
    **{f"fragmented mp4, {p} %": cut(f"frag{p}.mp4", FRAGMENTED, p) for p in (30, 80)},
    **{f"mkv, {p} %": cut(f"cut{p}.mkv", COPY, p) for p in (1, 30, 60, 90)},
    **{f"avi, {p} %": cut(f"cut{p}.avi", AVI, p) for p in (1, 30, 60, 90)},
    **{f"mpegts, {p} %": cut(f"cut{p}.ts", COPY, p) for p in (1, 30, 60, 90)},
    "wav, half": only_sound("half.wav", truncated(WAV, 0.5), Tones(1, 0)),
    "wav, its header alone": only_sound("header.wav", wav(tones()[:0]), Reason.NO_AUDIO),
    "wav, half a header": refused("stub.wav", truncated(WAV, 0.0003)),
    "mp4 without moov": refused("moov.mp4", changed(COPY, lambda d: d[: d.index(b"moov") - 4])),
    # damaged
    **{f"mp4, bits flipped from {a} to {b}": damaged(f"flip{a}.mp4", flipped(FIRST, a, b, 20))
       for a, b in ((0, 0.01), (0.01, 0.05), (0.05, 0.1), (0.2, 0.5), (0.5, 1))},
    **{f"mkv, bits flipped from {a} to {b}": damaged(f"flip{a}.mkv", flipped(COPY, a, b, 20))
       for a, b in ((0, 0.05), (0.1, 1))},
    "avi, bits flipped": damaged("flip.avi", flipped(AVI, 0, 0.05, 20)),
    "mpegts, bits flipped": damaged("flip.ts", flipped(COPY, 0, 1, 200)),
    "mp4, a clock of 0 ticks a second": damaged("mvhd.mp4", patched(COPY, b"mvhd", 12, bytes(4))),
    "mp4, a video clock of 0 ticks": damaged("mdhd.mp4", patched(COPY, b"mdhd", 12, bytes(4))),
    "mp4, four billion pictures": damaged("stsz.mp4", patched(COPY, b"stsz", 8, b"\xff" * 4)),
    "mp4, media beyond the end": damaged("stco.mp4", patched(COPY, b"stco", 8, b"\x7f" * 4)),
    "mp4, an unknown video codec": Kind("avc0.mp4", patched(COPY, b"stsd", 12, b"zzzz"), Reason.UNREADABLE),
    "mkv, an unknown video codec": Kind("video.mkv", patched(COPY, b"V_MPEG4/ISO/", 0, b"ZZZ"), Reason.UNREADABLE),
    "mkv, an unknown sound codec": Kind("sound.mkv", patched(COPY, b"A_AAC", -3, b"ZZZ"), sound=Reason.UNREADABLE),
    "mkv, an unknown codec, then a known one": Kind("second.mkv", patched(
        encoded("-map", "0", "-map", "0", "-map", "1"), b"V_MPEG4/ISO/", 0, b"ZZZ")),
    "mp4, an unknown brand": Kind("brand.mp4", patched(COPY, b"ftyp", 0, b"zzzz")),
    # A decoder may take a little noise for a picture; without bitexact the noise is another each time.
    "mp4, encrypted": Kind("drm.mp4", copied("-encryption_scheme", "cenc-aes-ctr", *KEYS, "-fflags", "+bitexact"),
                           frozenset({Reason.UNREADABLE, Reason.NO_FACE}), Reason.UNREADABLE),
    # no media
    "empty file": refused("empty.mp4", content(b""), Reason.EMPTY_FILE),
    "text": refused("text.mp4", content("these are no pictures\n" * 500)),
    "html": refused("page.mp4", content("<!doctype html><html><body><h1>404 Not Found</h1></body></html>\n")),
    "git-lfs pointer": refused("pointer.mp4", content(LFS), Reason.GIT_LFS_POINTER),
    "zip": refused("archive.mp4", zipped),
    "random bytes": refused("random.mp4", content(np.random.default_rng(0).bytes(50_000))),
    "zeros": refused("zeros.mp4", content(bytes(50_000))),
    "png": refused("still.png", seen(*ONE)),
    "jpg named mp4": refused("still.mp4", seen(*ONE, "-f", "mjpeg")),
    "gif": refused("moving.gif", seen()),
    # playlists: to a good neighbour, and to the server
    "m3u8": refused("hls.m3u8", content(HLS.format("good/1.mp4"))),
    "m3u8 named mp4": refused("hls.mp4", content(HLS.format("good/1.mp4") + "#\n")),
    "m3u8 to the network": refused("net.m3u8", content(HLS.replace("{}", URL))),
    "m3u8 to the network named ts": refused("net.ts", content(HLS.replace("{}", URL) + "#\n")),
    "ffconcat": refused("list.ffconcat", content("ffconcat version 1.0\nfile good/1.mp4\n")),
    "ffconcat to the network": refused("list.mp4", content(f"ffconcat version 1.0\nfile {URL}\n")),
    "sdp": refused("session.sdp", content("v=0\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n")),
    "dash": refused("dash.mpd", content(f"<?xml version='1.0'?><MPD><BaseURL>{URL}</BaseURL></MPD>\n")),
    # the file system
    "no permission": refused("locked.mp4", locked, Reason.FAULT) if permissions_hold() else Kind("locked.mp4", locked),
    "link to a file inside": Kind("inside.mp4", link("good/linked.mp4")),
    "link out of the root": refused("outside.mp4", outside, Reason.OUTSIDE_ROOT),
    "link to a device": refused("device.mp4", link("/dev/zero"), Reason.OUTSIDE_ROOT),
    "link to itself": refused("loop.mp4", link("loop.mp4"), Reason.ABSENT),
    "link to nowhere": refused("dangling.mp4", link("nowhere.mp4"), Reason.ABSENT),
    "FIFO": refused("fifo.mp4", pipe, Reason.NOT_A_FILE),
    "socket": refused("socket.mp4", special, Reason.NOT_A_FILE),
    "folder": refused("folder.mp4", lambda m, path: path.mkdir(), Reason.NOT_A_FILE),
    "no file": refused("absent.mp4", None, Reason.ABSENT),
    "a file as a folder": refused("good/1.mp4/clip.mp4", None, Reason.ABSENT),
    "a name that no file can have": refused("x" * 5000, None, Reason.ABSENT),
    "good 2": Kind("good/linked.mp4", named()),
    **{f"named {name!r:.30}": Kind(name, named()) for name in (
        "-i.mp4", "a b.mp4", ' lead and "quotes" it\'s.mp4', "new\nline.mp4", "%03d.mp4", "http:x,y.mp4", "pipe:0",
        "concat:a|b.mp4", "back\\slash.mp4", "ü[1]*?.mp4", "e\u0301 \U0001f600.mp4", "$(touch x);&.mp4",
        "x" * 240 + ".mp4")},
    "changed after the scan": refused("changed.mp4", named(), Reason.CHANGED, later=encoded("-crf", "30")),
    "cut after the scan": refused("later.mp4", named(), Reason.CHANGED, later=truncated(COPY, 0.5)),
    "removed after the scan": refused("gone.mp4", named(), Reason.CHANGED, later=lambda m, path: path.unlink()),
    "emptied after the scan": refused("emptied.mp4", named(), Reason.CHANGED, later=content(b"")),
    "a FIFO after the scan": refused("piped.mp4", named(), Reason.CHANGED, later=pipe),
    # containers and codecs
    "mp4 named avi": Kind("mp4.avi", copied("-f", "mp4")),
    "wav named mp4": only_sound("wav.mp4", WAV),
    "fragmented mp4": Kind("whole.mp4", FRAGMENTED),
    "mov, prores": Kind("prores.mov", encoded("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", *PCM)),
    "mkv": Kind("whole.mkv", COPY),
    "mpegts": Kind("whole.ts", COPY),
    "avi, mjpeg": Kind("whole.avi", AVI),
    "avi, huffyuv": Kind("huffyuv.avi", encoded("-c:v", "huffyuv", "-pix_fmt", "rgb24", *PCM)),
    "flv": Kind("sorenson.flv", encoded("-c:v", "flv1", "-q:v", "2", "-c:a", "mp3", "-ar", "22050")),
    "webm": Kind("vp9.webm", encoded("-c:v", "libvpx-vp9", "-deadline", "realtime", "-crf", "12", "-c:a", "libopus")),
    "ogg": Kind("theora.ogv", encoded("-c:v", "libtheora", "-q:v", "8", *NOISE, "-c:a", "libvorbis")),
    "mpeg-2": Kind("dvd.mpg", encoded("-c:v", "mpeg2video", "-q:v", "2", "-r", "25", "-c:a", "mp2")),
    "wmv": Kind("old.wmv", encoded("-c:v", "wmv2", "-q:v", "2", "-c:a", "wmav2")),
    "hevc, 10 bit": Kind("hevc.mp4", encoded("-c:v", "libx265", "-x265-params", "log-level=0:pools=1", "-pix_fmt",
                                             "yuv420p10le")),
    "av1": Kind("av1.mp4", encoded("-c:v", "libsvtav1", "-preset", "10", "-crf", "20", "-svtav1-params", "lp=1")),
    # streams
    "sound alone": only_sound("alone.m4a", heard()),
    "pictures alone": only_pictures("alone.mp4", copied("-an")),
    "cover art": only_sound("song.mp3", encoded("-map", "2", "-map", "1", "-c:v", "mjpeg", "-disposition:v",
                                                "attached_pic", before=COVER)),
    "cover art before the pictures": Kind("cover.mp4", encoded(
        *ADDED_FIRST, "-c:v:0", "png", "-pix_fmt:v:0", "rgb24", "-disposition:v:0", "attached_pic", before=COVER)),
    "subtitles first": Kind("subtitles.mkv", encoded(*ADDED_FIRST, before=SUBTITLES)),
    "subtitles first in mp4": Kind("subtitles.mp4", encoded(*ADDED_FIRST, "-c:s", "mov_text", before=SUBTITLES)),
    "data first": Kind("data.ts", encoded(*ADDED_FIRST, "-c:d", "copy", before=("-f", "data", "-i", "data:,hello"))),
    # FFmpeg 9 itself refuses this one; PyAV reads it.
    "timecode first": Kind("timecode.mov", copied("-map", "0:d", "-map", "0:v", "-map", "0:a", of=encoded(
        "-timecode", "00:00:00:00")), frozenset({Reason.UNREADABLE}), frozenset({Reason.UNREADABLE})),
    "two videos": Kind("eyes.mkv", encoded("-map", "0", "-map", "1", "-map", "2", before=BLACK)),
    "two sounds": Kind("ears.mkv", encoded("-map", "0", "-map", "2", "-map", "1", before=QUIET)),
    "one picture": only_pictures("one.mp4", seen(*X264, *ONE), Faces(1, 0)),
    "no streams": only_pictures("nothing.mp4", encoded("-vf", "select=0", "-af", "aselect=0"), Reason.NO_VIDEO),
    "streams of no duration": only_pictures("tracks.mp4", changed(FRAGMENTED, lambda d: d[: d.index(b"moof") - 4]),
                                            Reason.NO_VIDEO),
    # times
    "a stretch inside": Kind("good/inside.mp4", named(), Faces(0, 6), Tones(0, 0.9), start=1.05, end=1.95),
    "a stretch over the end": Kind("good/over.mp4", named(), Faces(0, 2), Tones(0, 1), start=1.0, end=5.0),
    "a stretch after the end": Kind("good/after.mp4", named(), Reason.NO_VIDEO, Reason.NO_AUDIO, start=7.0, end=8.0),
    "a stretch of no length": Kind("good/instant.mp4", named(), Faces(1, 0), Reason.NO_AUDIO, start=0.5, end=0.5),
    # several stretches of one file
    "shared, first half": Kind("good/shared.mp4", named(), Faces(6, 0), Tones(1, 0), start=0.0, end=1.0),
    "shared, after the end": Kind("good/shared.mp4", None, Reason.NO_VIDEO, Reason.NO_AUDIO, start=7.0, end=8.0),
    "shared, second half": Kind("good/shared.mp4", None, Faces(0, 6), Tones(0, 1), start=1.0, end=2.0),
    "cut off, before the cut": Kind("good/cut.mkv", truncated(COPY, 0.6), Faces(5, 0), Tones(0.5, 0),
                                    start=0.0, end=0.5),
    "cut off, after the cut": Kind("good/cut.mkv", None, frozenset({Reason.NO_VIDEO, Reason.UNREADABLE}),
                                   frozenset({Reason.NO_AUDIO, Reason.UNREADABLE}), start=1.6, end=2.0),
    # the clock
    "pictures that come and go": Kind("vfr.mkv", encoded("-vf", "select='gte(t,1)+not(mod(n,5))'", "-fps_mode", "vfr"),
                                      Faces(2, 3)),
    "pictures left out of an avi": Kind("drop.avi", encoded("-vf", "select='gte(t,1)+not(mod(n,5))'", *MJPEG, *PCM),
                                        Faces(2, 3)),
    "still pictures as empty packets": Kind("still.ogv", encoded("-c:v", "libtheora", "-c:a", "libvorbis"),
                                            Faces(2, 2)),
    "sound that begins later": Kind("silence.mp4", encoded(before=("-itsoffset", "0.5"))),
    "pictures that begin later": Kind("dark.mkv", encoded("-vf", "setpts=PTS+0.5/TB")),
    "an edit list": Kind("edit.mp4", copied(before=("-ss", "0.5")), Faces(2, 4), Tones(0.5, 1)),
    "times below zero": Kind("below.mov", copied("-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled"),
                             Faces(2, 4), Tones(0.5, 1)),
    **{f"{suffix} from 10 h": Kind(f"late.{suffix}", copied(*LATE)) for suffix in ("mkv", "mp4", "ts")},
    "mpegts whose clock wraps": Kind("wrap.ts", copied("-output_ts_offset", "95441.3")),
    "mpegts whose clock starts again": Kind("again.ts", changed(COPY, lambda d: d + d), frozenset(), Tones(2.1, 2)),
    "pictures too many to decode": Kind("slow.mp4", slow, frozenset({Reason.TIMEOUT, Reason.NO_FACE})),
    # pictures
    **{f"{form} pictures": only_pictures(f"{form}.{suffix}", seen("-c:v", codec, "-pix_fmt", form, *more))
       for form, suffix, codec, *more in (
        ("yuv444p", "mp4", "libx264"), ("gray", "mp4", "libx264"), ("yuv420p10le", "mp4", "libx264"),
        ("yuv422p", "mkv", "ffv1"), ("rgb24", "avi", "png"), ("yuva420p", "webm", "libvpx-vp9"),
        ("gbrp16le", "mkv", "ffv1"),
        ("pal8", "avi", "png", "-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse"))},
    "odd sides": only_pictures("odd.mkv", seen("-vf", "crop=191:143", "-c:v", "ffv1", "-pix_fmt", "yuv420p")),
    "turned": only_pictures("turned.mp4", copied(before=("-display_rotation", "90"), of=TURNED)),
    "upside down": only_pictures("down.mp4", copied(before=("-display_rotation", "180"), of=UPSIDE_DOWN)),
    "interlaced": only_pictures("fields.mkv", seen(*X264, "-flags", "+ildct+ilme", "-x264-params", "tff=1")),
    "24 x 18": only_pictures("24x18.mkv", seen("-vf", "scale=24:18", "-c:v", "ffv1"), Reason.NO_FACE, words=SIX),
    "16 x 16": only_pictures("16.mp4", seen("-vf", "scale=16:16", *X264), Reason.NO_FACE, words=SIX),
    "2 x 2": only_pictures("2.mp4", seen("-vf", "scale=2:2", *X264), Reason.NO_FACE, words=SIX),
    "black": only_pictures("black.mp4", seen("-vf", "lutyuv=y=16:u=128:v=128", *X264), Reason.NO_FACE, words=SIX),
    **{f"{WIDE}, {codec}": only_pictures(f"wide.{codec}.avi", seen("-vf", "scale=20000:500", *ONE, "-c:v", codec),
       Reason.TOO_LARGE, words="20000 x 500") for codec in ("png", "mjpeg")},
    f"{WIDE} and flat": only_pictures("flat.avi", seen("-vf", "scale=20000:64", *ONE, "-c:v", "png"),
                                                 Reason.NO_FACE, words="1 frame"),
    "a crop": Kind("good/crop.mp4", named(), Faces(3, 0), crop=(0.5, 0.0, 1.0, 1.0)),  # seen from the crop's own corner
    "a crop of no area": Kind("good/dot.mp4", named(), Reason.NO_FACE, crop=(0.5, 0.5, 0.5, 0.5)),
    "a crop beside the picture": Kind("good/beside.mp4", named(), Reason.NO_FACE, crop=(1.5, 0.0, 2.0, 1.0)),
    # sound
    **{f"{rate} Hz": only_sound(f"{rate}.wav", wav(tones(rate), rate)) for rate in (8000, 11025, 44100, 96000)},
    **{f"{n} channels": only_sound(f"{n}.wav", heard("-ac", str(n))) for n in (2, 6, 8)},
    "11 channels, the sound in the last": only_sound("11.wav", heard("-af", "pan=11C|c10=c0")),
    "5.1 in aac": only_sound("surround.m4a", heard("-ac", "6")),
    **{f"{codec} sound": only_sound(f"{codec}.{suffix}", heard("-c:a", codec)) for codec, suffix in (
        ("pcm_u8", "wav"), ("pcm_s24le", "wav"), ("pcm_f32le", "wav"), ("pcm_f64le", "wav"), ("pcm_mulaw", "wav"),
        ("adpcm_ms", "wav"), ("flac", "flac"), ("alac", "m4a"), ("libmp3lame", "mp3"), ("libopus", "ogg"),
        ("pcm_s16be", "aiff"), ("ac3", "mkv"))},
    "header of 0 Hz": refused("0.wav", wav(tones(), 0)),
    "header of 7 Hz": only_sound("7.wav", wav(tones(), 7), Reason.UNREADABLE, words="7 Hz"),
    "header of 2 GHz": only_sound("2G.wav", wav(tones(), 2**31 - 1), Reason.UNREADABLE),
    "header that promises more": only_sound("promise.wav", wav(tones(), promised=10**9)),
    "header that promises nothing": only_sound("stream.wav", wav(tones(), promised=0)),
    "silence": only_sound("silent.wav", wav(0 * tones()), Reason.SILENT),
    "50 ms": only_sound("short.wav", wav(tones()[:800]), Reason.TOO_SHORT, words="2048"),
    "clipped": only_sound("clipped.wav", wav(np.clip(4 * tones(), -1, 1))),
    "louder than full scale": only_sound("loud.wav", wav(16 * tones(), floats=True)),
    "absurdly loud": only_sound("absurd.wav", wav(1e30 * tones(), floats=True), Reason.UNREADABLE),
    "one sample that is no number": only_sound("nan.wav", wav(SPOILT, floats=True), Reason.UNREADABLE),
    "infinite": only_sound("inf.wav", wav(np.full(2 * RATE, np.inf, np.float32), floats=True), Reason.UNREADABLE),
    "a constant": only_sound("dc.wav", wav(0 * tones() + 0.5), Lasts(2)),
    "good 3": Kind("good/3.mp4", named()),
}
# fmt: on


@dataclass(frozen=True)
class Run:
    """What one extraction of the whole folder left behind."""

    project: Project
    told: str
    answer: dict[str, Any]
    seconds: float
    visited: bool
    caches: dict[str, CacheFile]
    details: dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Extract all kinds at once."""
    folder = tmp_path_factory.mktemp("odd")
    root = folder / "data" / "raw" / "demo"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        manifest = corpus(folder, root, server.getsockname()[1])
        write_manifest(manifest, folder / "data" / "manifests" / "demo.jsonl")
        project = Project(folder, folder / "store")
        began = time.monotonic()
        done = project.ercache(
            "extract", "demo", "--features", "mfcc,face_hog", "--fail-over", "100", "--json"
        )
        seconds = time.monotonic() - began
        visited = was_visited(server)
    with ExitStack() as stack:
        files = sorted((folder / "data" / "caches").rglob("*.h5"))
        caches = {path.name.split(".")[0]: stack.enter_context(CacheFile(path)) for path in files}
        answer = json.loads(done.stdout)
        yield Run(project, done.stderr, answer, seconds, visited, caches, failures(folder))


def was_visited(server: socket.socket) -> bool:
    """Whether anybody has connected; the connection waits in the queue of the server."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def failures(folder: Path) -> dict[tuple[str, str], str]:
    """Details of failures.csv."""
    (path,) = (folder / "data" / "logs").glob("*failures.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["status"] != "ok"]  # those have a note
    return {(row["utterance"], row["feature"]): row["detail"] for row in rows}


def corpus(folder: Path, root: Path, port: int) -> Manifest:
    """Make all files, look at them as a scan does, and then let happen what happens after a scan."""
    for name in ("extract/versions.yaml", "params.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["engine"]["limits"]["seconds"] = LIMIT
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "good").mkdir(parents=True)
    (folder / "made").mkdir()
    made = material(folder / "made", port)

    def make(kind: Kind) -> None:
        if kind.make is not None:
            kind.make(made, root / kind.file)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, KINDS.values()))
    utterances, problems = [], []
    for index, (name, kind) in enumerate(KINDS.items()):
        ref = MediaRef(kind.file, kind.start, kind.end, kind.crop, digest(root, kind.file))
        utterances.append(Utterance(name, "odd", index, "A", None, ref, ref, {}, "train"))
        if ref.sha256 is None and isinstance(kind.picture, Reason):
            problems.append(Problem(name, kind.picture.status.value, kind.picture.value, kind.file))
    for kind in KINDS.values():
        if kind.later is not None:
            kind.later(made, root / kind.file)
    return Manifest("demo", "odd", {}, {}, tuple(utterances), tuple(problems))


def digest(root: Path, file: str) -> str | None:
    """What a scan notes of a file: None where there is none inside the root that can be read."""
    try:
        path = (root / file).resolve(strict=True)
    except (OSError, RuntimeError):  # nowhere, a loop, a name that is too long
        return None
    inside = path.is_relative_to(root.resolve()) and path.is_file() and os.access(path, os.R_OK)
    return digest_of_file(path) if inside else None


def seen_in(run: Run, name: str) -> Expected:
    """What came of the pictures of a kind, in the words of its expectation."""
    entry = run.caches["face_hog"].entries[run.caches["face_hog"].row[name]]
    if entry.status is not Status.OK:
        assert Reason(entry.reason).status is entry.status and entry.frames == 0
        return Reason(entry.reason)
    arrays = run.caches["face_hog"][name]
    assert len(arrays["frames"]) == len(arrays["boxes"]) == entry.frames > 0
    assert all(np.isfinite(a).all() for a in arrays.values())
    for box in arrays["boxes"]:
        assert HEIGHT / 4 < box[3] - box[1] < HEIGHT / 2 and box[2] - box[0] < WIDTH / 2, "the face, upright"
    left = int((arrays["boxes"][:, [0, 2]].mean(axis=1) < WIDTH / 2).sum())
    return Faces(left, entry.frames - left)


def heard_in(run: Run, name: str) -> Expected:
    """What came of the sound of a kind: seconds of either tone, told by the loudest of the mel bands."""
    entry = run.caches["mfcc"].entries[run.caches["mfcc"].row[name]]
    if entry.status is not Status.OK:
        assert Reason(entry.reason).status is entry.status and entry.frames == 0
        return Reason(entry.reason)
    frames = run.caches["mfcc"][name]["frames"]
    assert len(frames) == entry.frames > 0 and np.isfinite(frames).all()
    if isinstance(KINDS[name].sound, Lasts):
        return Lasts(len(frames) * HOP)
    peaks = idct(frames, n=128, norm="ortho", axis=1).argmax(axis=1)  # of 128 bands, 500 Hz: 19, 2000 Hz: 64
    low, high = (int((np.abs(peaks - band) < 8).sum()) for band in (19, 64))
    assert KINDS[name].sound == DAMAGED or low + high >= len(frames) - 4, f"other tones: {peaks}"
    return Tones(low * HOP, high * HOP)


def fits(found: Expected, expected: Expected) -> bool:
    """Whether an outcome is the expected one; of a set of reasons any, or any part of the clip."""
    match expected, found:
        case frozenset(), Reason():
            return found in expected
        case frozenset(), Faces(left, right):
            return left + right <= 6
        case frozenset(), Tones(low, high):
            return max(low, high) < 1 + TOLERANCE
        case Tones(), Tones():
            return max(abs(found.low - expected.low), abs(found.high - expected.high)) < TOLERANCE
        case Lasts(), Lasts():
            return abs(found.seconds - expected.seconds) < TOLERANCE
        case _:
            return found == expected


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_any_kind_is_read_rightly_or_has_its_reason(run: Run, name: str) -> None:
    kind, told = KINDS[name], [run.details.get((name, f)) for f in ("face_hog", "mfcc")]
    seen_now, heard_now = seen_in(run, name), heard_in(run, name)
    assert fits(seen_now, kind.picture), (seen_now, told)
    assert fits(heard_now, kind.sound), (heard_now, told)
    if kind.words:
        assert kind.words in " ".join(filter(None, told))


def test_there_are_more_than_sixty_kinds_and_none_stands_for_another() -> None:
    broken = [name for name, kind in KINDS.items() if not name.startswith("good")]
    files = [kind.file for kind in KINDS.values() if kind.make is not None]
    assert len(broken) >= 60 and len(set(files)) == len(files)


def test_the_run_ends_in_time_and_opens_no_connection(run: Run) -> None:
    assert run.seconds < BOUND and not run.visited
    assert "changed since the scan (10 changed; the first: " in run.told and "failures.csv" in run.told


def test_every_result_is_told_with_its_reason_and_no_path(run: Run) -> None:
    for feature, cache in run.caches.items():
        bad = {e.id: e.reason for e in cache.entries if e.status is not Status.OK}
        assert bad == {f["utterance"]: f["reason"] for f in run.answer["failed"] if f["feature"] == feature}
        assert set(bad) == {u for u, f in run.details if f == feature}
        for name, reason in bad.items():
            detail = run.details[name, feature]
            assert reason != Reason.UNREADABLE or detail, f"{name}: the tool's own words"
            assert str(run.project.folder.parent) not in detail, name


def test_the_caches_are_whole(run: Run) -> None:
    assert run.project.json("cache", "verify", "data/caches") == {"checked": 2, "bad": []}
