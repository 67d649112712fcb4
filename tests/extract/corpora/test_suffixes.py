"""What can be read: one list, made from what FFmpeg may open; every suffix in it is paired, looked at and read."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from extract.corpora import CORPORA
from extract.corpora.common.suffixes import (
    AUDIO_SUFFIXES,
    CONTAINERS,
    VIDEO_SUFFIXES,
    is_medium,
    stem_of,
    suffix_of,
)
from extract.media.container import FORMATS
from extract.pretrain.sources import SOUNDS

pytestmark = pytest.mark.usefixtures("scanned_here")
USUAL = (
    "mp4 m4v m4a mov 3gp 3g2 mkv webm mka avi flv f4v asf wmv wma mpg mpeg vob ts mts m2ts dv nut wav w64 rf64 mp3 mp2 "
    "flac ogg oga ogv opus aac amr aif aiff aifc au snd caf ac3 eac3 sph"
)
# suffix -> how this FFmpeg writes it.
PICTURES = {
    **{"m2ts": "-f mpegts", "mts": "-f mpegts", "m2t": "-f mpegts", "wmv": "-f asf", "vob": "-f vob"},
    **{"3gp": "-f 3gp -c:a aac", "ogv": "-f ogg", "f4v": "-f f4v", "nut": "-f nut", "qt": "-f mov"},
}
TONES = {
    **{
        "opus": "-f ogg -c:a libopus",
        "wma": "-f asf -c:a wmav2",
        "aif": "-f aiff",
        "aifc": "-f aiff",
        "snd": "-f au",
    },
    **{"caf": "-f caf", "w64": "-f w64", "mp2": "-f mp2", "m4b": "-f ipod", "rf64": "-f wav -rf64 always"},
    **{"oga": "-f ogg -c:a flac", "weba": "-f webm -c:a libopus", "aac": "-f adts", "mka": "-f matroska"},
    **{"amr": "-f amr -ar 8000 -ac 1 -b:a 12.2k", "ac3": "-f ac3", "ec3": "-f eac3"},
}
SRT = "1\n00:00:00,000 --> 00:00:01,000\nANN: Hi\n"


def test_every_container_that_may_be_opened_has_its_suffixes() -> None:
    assert set(FORMATS.split(",")) <= set(CONTAINERS)
    assert set(USUAL.split()) <= VIDEO_SUFFIXES | AUDIO_SUFFIXES and not VIDEO_SUFFIXES & AUDIO_SUFFIXES
    assert set(SOUNDS) == {f".{suffix}" for suffix in AUDIO_SUFFIXES}


def test_a_container_that_may_not_be_opened_gives_no_suffix() -> None:
    others = {
        s
        for name, ends in CONTAINERS.items()
        if name not in FORMATS.split(",")
        for s in " ".join(ends).split()
    }
    opened = {s for name in FORMATS.split(",") for s in " ".join(CONTAINERS[name]).split()}
    assert opened == VIDEO_SUFFIXES | AUDIO_SUFFIXES and not (others - opened) & (
        VIDEO_SUFFIXES | AUDIO_SUFFIXES
    )


@pytest.mark.parametrize(
    "name", ["a.m3u8", "a.m3u", "a.mpd", "a.concat", "a.jpg", "a.gif", "a.png", "a.srt", "a", "mp4"]
)
def test_what_is_no_medium_is_none(name: str) -> None:
    assert not is_medium(name)


def test_suffixes_are_read_in_any_case_and_of_the_name_alone() -> None:
    assert suffix_of("a.b/c.Opus") == "opus" and suffix_of("a.b/c") == "" and suffix_of("a.b/.mp4") == "mp4"
    assert stem_of("a.b/c.d.MP4") == "a.b/c.d" and stem_of("a.b/c") == "a.b/c"


def made(path: Path, options: str, pictures: bool) -> None:
    sources = ["-f", "lavfi", "-i", "sine=d=1.2:r=48000"]
    sources += ["-f", "lavfi", "-i", "testsrc=s=176x144:r=25:d=1.2"] if pictures else []
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", *sources, *options.split(), str(path)], check=True)


def test_media_of_every_kind_are_found_beside_their_transcripts_and_looked_at(tmp_path: Path) -> None:
    for kind, pictures in ((PICTURES, True), (TONES, False)):
        for suffix, options in kind.items():
            made(tmp_path / f"{suffix}.{suffix}", options, pictures)
            (tmp_path / f"{suffix}.srt").write_text(SRT)
    entry = CORPORA["folder"]
    found = entry.scan(tmp_path, entry.Switches())
    assert [p for p in found.problems if p.status != "note" or p.reason == "transcript_without_media"] == []
    media = {u.dialogue: (u.video and u.video.sha256, u.audio and u.audio.sha256) for u in found.utterances}
    assert set(media) == {*PICTURES, *TONES} and all(sound for _, sound in media.values())
    assert {suffix for suffix, (seen, _) in media.items() if seen} == set(PICTURES)
