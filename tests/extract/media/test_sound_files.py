"""Sound files of every make give the samples that FFmpeg's own command gives, mixed alike."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Reason
from extract.media import Span, read_spans
from extract.media.probe import probe
from tests.support.hostile_clocks import seal_ogg
from tests.support.media_makers import LIMITS, RATE, read_sound, reason_of, run

Sound = NDArray[np.float32]


def noise(channels: int = 1, seconds: float = 1.5) -> Sound:
    """Other noise in each channel, of other loudness, [n, channels]."""
    draw = np.random.default_rng(channels).uniform(-0.3, 0.3, (int(seconds * RATE), channels))
    return (draw * np.linspace(0.5, 1, channels)).astype(np.float32)


def encoded(path: Path, sound: Sound, *options: str, layout: str = "") -> Path:
    given_as = ("-f", "f32le", "-ar", str(RATE), "-ac", str(sound.shape[1]))
    given_as += ("-channel_layout", layout) if layout else ()
    run(*given_as, "-i", "-", *options, str(path), data=sound.tobytes())
    return path


def of_ffmpeg(path: Path, *filters: str) -> Sound:
    """All samples of a file in one channel, as FFmpeg's command mixes them."""
    mix = ",".join([*filters, "aresample=osf=flt:ochl=mono:rematrix_maxval=1"])
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-af",
        mix,
        "-f",
        "f32le",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


def check_agrees(path: Path, off: float, right: Sound | None = None, padding: int = 0) -> Sound:
    """Read a file whole and in two parts; all must be what FFmpeg's command gives, but for so many samples behind."""
    expected = of_ffmpeg(path) if right is None else right
    heard, rate = read_sound(path, MediaRef(path.name), LIMITS)
    assert len(expected) and 0 <= len(heard) - len(expected) <= padding
    np.testing.assert_allclose(heard[: len(expected)], expected, atol=off, rtol=0)
    middle = round(0.4 * len(heard)) / rate
    parts = [MediaRef("x", 0.0, middle), MediaRef("x", middle, 99.0)]
    found = read_spans(path, [Span(ref, rates=(rate,)) for ref in parts], LIMITS)
    np.testing.assert_array_equal(np.concatenate([clip.sounds[rate] for clip in found]), heard)
    return heard


@pytest.mark.parametrize(
    "codec",
    ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw", "adpcm_ms",
     "adpcm_ima_wav"],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_a_wav_are_those_of_ffmpeg(tmp_path: Path, codec: str, channels: int) -> None:
    check_agrees(encoded(tmp_path / "a.wav", noise(channels), "-c:a", codec), 1e-6)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("flac", ()), ("ogg", ("-c:a", "libvorbis")), ("mp3", ("-c:a", "libmp3lame", "-b:a", "96k")),
        ("mp3", ("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0")), ("m4a", ("-c:a", "aac")),
        ("m4a", ("-c:a", "alac")), ("opus", ("-c:a", "libopus")), ("w64", ()), ("aiff", ()), ("au", ()), ("caf", ()),
        ("amr", ("-ar", "8000", "-c:a", "libopencore_amrnb")), ("wma", ("-c:a", "wmav2")), ("aac", ("-c:a", "aac")),
        ("mka", ("-c:a", "pcm_s16le")), ("wav", ("-c:a", "libmp3lame")),
    ],
)  # fmt: skip
def test_samples_of_other_files_are_those_of_ffmpeg(
    tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    padding = 1024 if suffix == "m4a" else 0  # later versions of FFmpeg cut what fills the last packet of AAC
    check_agrees(encoded(tmp_path / f"a.{suffix}", noise(), *options), 1e-4, padding=padding)


@pytest.mark.parametrize(
    "layout",
    ["mono", "stereo", "2.1", "quad", "5.0", "5.1", "5.1(side)", "6.1", "7.1", "hexagonal", "downmix"],
)
def test_channels_are_mixed_by_the_places_that_a_wav_states(tmp_path: Path, layout: str) -> None:
    count = {"mono": 1, "stereo": 2, "downmix": 2, "2.1": 3, "quad": 4, "5.0": 5, "6.1": 7, "7.1": 8}.get(
        layout, 6
    )
    check_agrees(encoded(tmp_path / "a.wav", noise(count), "-c:a", "pcm_s24le", layout=layout), 1e-6)


@pytest.mark.parametrize("channels", [9, 11, 13])
def test_channels_whose_places_nobody_knows_count_alike(tmp_path: Path, channels: int) -> None:
    sound = noise(channels)
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", form(3, channels, 4)) + chunk(b"data", sound.tobytes())))
    check_agrees(path, 1e-6, sound.mean(axis=1))


def test_many_channels_that_lie_apart_are_read(tmp_path: Path) -> None:
    """PyAV reads memory that is not there beyond the eighth: the process would die of it."""
    sound = noise(11)
    path = tmp_path / "a.ogg"
    encoded(path, sound, "-c:a", "libopus", "-mapping_family", "255", "-b:a", "1000k", "-ar", "48000")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    check_agrees(path, 1e-6, np.frombuffer(raw, np.float32).reshape(-1, 11).mean(axis=1))


def form(tag: int, channels: int, width: int, rate: int = RATE) -> bytes:
    return struct.pack("<HHIIHH", tag, channels, rate, rate * channels * width, channels * width, 8 * width)


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if size is None else size) + data


def riff(chunks: bytes, size: int | None = None) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) if size is None else size) + b"WAVE" + chunks


SAMPLES = np.round(noise()[:, 0] * 32767).astype("<i2").tobytes()
HEAD = chunk(b"fmt ", form(1, 1, 2))
GUID = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
DTS = b"\x7f\xfe\x80\x01"
WAVS: dict[str, bytes] = {
    "a size of 0, as a stream writes it": riff(HEAD + chunk(b"data", SAMPLES, 0), 0),
    "a size of 4 GB": riff(HEAD + chunk(b"data", SAMPLES, 0xFFFFFFFF), 0xFFFFFFFF),
    "a size beyond the file": riff(HEAD + chunk(b"data", SAMPLES, 10**9)),
    "a size that cuts a sample": riff(HEAD + chunk(b"data", SAMPLES, 20_001)),
    "an odd number of bytes": riff(HEAD + chunk(b"data", SAMPLES + b"\x01")),
    "a list of facts before": riff(chunk(b"LIST", b"INFOISFT" + b"\x04\0\0\0Lavf") + HEAD + chunk(b"data", SAMPLES)),
    "a list of facts behind": riff(HEAD + chunk(b"data", SAMPLES) + chunk(b"LIST", b"INFOISFT" + b"\x04\0\0\0Lavf")),
    "an unknown chunk of odd size": riff(chunk(b"junk", b"abc") + b"\0" + HEAD + chunk(b"data", SAMPLES)),
    "zeros behind the end": riff(HEAD + chunk(b"data", SAMPLES)) + bytes(5000),
    "an extended form with a mask": riff(
        chunk(b"fmt ", form(0xFFFE, 1, 2) + struct.pack("<HHIH", 22, 16, 4, 1) + GUID) + chunk(b"data", SAMPLES)
    ),
    "an extended form, two channels behind the listener": riff(
        chunk(b"fmt ", form(0xFFFE, 2, 2) + struct.pack("<HHIH", 22, 16, 0x30, 1) + GUID) + chunk(b"data", SAMPLES)
    ),
    "a mask of other channels than there are": riff(
        chunk(b"fmt ", form(0xFFFE, 2, 2) + struct.pack("<HHIH", 22, 16, 0x3F, 1) + GUID) + chunk(b"data", SAMPLES)
    ),
    "20 bits in 3 bytes": riff(
        chunk(b"fmt ", form(0xFFFE, 1, 3) + struct.pack("<HHIH", 22, 20, 4, 1) + GUID) + chunk(b"data", SAMPLES)
    ),
    "bytes like those of coded sound, far inside": riff(HEAD + chunk(b"data", SAMPLES[:30_000] + DTS + SAMPLES)),
}  # fmt: skip


@pytest.mark.parametrize("name", WAVS)
def test_odd_wavs_are_read_as_ffmpeg_reads_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAVS[name])
    both = np.frombuffer(SAMPLES, "<i2").reshape(-1, 2).mean(axis=1) / 32768
    check_agrees(path, 1e-6, both.astype(np.float32) if "behind the listener" in name else None)


def sphere(sound: Sound) -> bytes:
    """NIST SPHERE, as TIMIT and others have it."""
    lines = ("NIST_1A", "   1024", f"sample_count -i {len(sound)}", f"sample_rate -i {RATE}", "channel_count -i 1",
             "sample_n_bytes -i 2", "sample_byte_format -s2 01", "sample_sig_bits -i 16", "sample_coding -s3 pcm",
             "end_head")  # fmt: skip
    head = ("\n".join(lines) + "\n").encode()
    return head.ljust(1024, b"\n") + np.round(sound * 32767).astype("<i2").tobytes()


def test_nist_sphere_named_wav_is_read(tmp_path: Path) -> None:
    sound = noise()[:, 0]
    (tmp_path / "a.wav").write_bytes(sphere(sound))
    heard = check_agrees(tmp_path / "a.wav", 1e-6)
    assert np.abs(heard - sound).max() < 1e-4


@pytest.mark.parametrize("swapped", [False, True])
def test_dts_in_a_wav_stays_coded_sound(tmp_path: Path, swapped: bool) -> None:
    """Read as samples it would be loud noise."""
    tone = 0.3 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000)
    stereo = np.stack([tone, tone], axis=1).astype("<f4")
    coded = tmp_path / "a.dts"
    run("-f", "f32le", "-ar", "48000", "-ac", "2", "-i", "-", "-c:a", "dca", "-strict", "-2", "-b:a", "1411k",
        str(coded), data=stereo.tobytes())  # fmt: skip
    data = coded.read_bytes()
    path = tmp_path / "a.wav"
    if swapped:
        data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
    path.write_bytes(riff(chunk(b"fmt ", form(1, 2, 2, 48_000)) + chunk(b"data", data)))
    heard, rate = read_sound(path, MediaRef("a.wav"), LIMITS)
    power = np.abs(np.fft.rfft(heard[2000:42_000] * np.hanning(40_000))) ** 2
    at = round(440 * 40_000 / rate)
    assert rate == 48_000 and power[at - 5 : at + 6].sum() > 0.99 * power.sum()


def opposite(path: Path, left: float, right: float, extra: float = 0.0) -> Path:
    voice = noise()[:, 0]
    other = np.random.default_rng(9).uniform(-1, 1, len(voice)).astype(np.float32)
    return encoded(path, np.stack([left * voice, right * voice + extra * other], axis=1), "-c:a", "pcm_f32le")


@pytest.mark.parametrize(("left", "right", "heard"), [(1, -1, 1.0), (0.9, -1.0, -1.0), (1.0, -0.95, 1.0)])
def test_of_channels_that_take_each_other_out_the_louder_one_is_heard(
    tmp_path: Path, left: float, right: float, heard: float
) -> None:
    path = opposite(tmp_path / "a.wav", left, right)
    (clip,) = read_spans(path, [Span(MediaRef("a.wav"), rates=(RATE,))], LIMITS)
    np.testing.assert_allclose(clip.sounds[RATE], heard * noise()[:, 0], atol=1e-6)
    assert "opposite" in clip.notes["audio"]


@pytest.mark.parametrize(
    ("left", "right", "extra"), [(1, 1, 0), (1, 0, 0), (0, -1, 0), (1, -0.5, 0), (1, -1, 0.3)]
)
def test_other_channels_are_mixed_and_nothing_is_told(
    tmp_path: Path, left: float, right: float, extra: float
) -> None:
    path = opposite(tmp_path / "a.wav", left, right, extra)
    (clip,) = read_spans(path, [Span(MediaRef("a.wav"), rates=(RATE,))], LIMITS)
    np.testing.assert_allclose(clip.sounds[RATE], of_ffmpeg(path), atol=1e-6)
    assert not clip.notes


def chained(path: Path, *links: tuple[str, int, int]) -> list[float]:
    """Several Ogg streams (codec, rate, channels) in one file, one after the other; how long each is."""
    parts = []
    for n, (codec, rate, channels) in enumerate(links):
        part = path.with_name(f"{n}.ogg")
        source = f"sine=frequency={400 * (n + 1)}:sample_rate=48000:duration={2 + n}"
        run("-f", "lavfi", "-i", source, "-ar", str(rate), "-ac", str(channels), "-c:a", codec,
            "-serial_offset", str(n), "-f", "ogg", str(part))  # fmt: skip
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return [2.0 + n for n in range(len(links))]


@pytest.mark.parametrize(
    "links",
    [
        (("libvorbis", 16_000, 1), ("libvorbis", 16_000, 1)),
        (("libvorbis", 16_000, 1), ("libvorbis", 16_000, 1), ("libvorbis", 16_000, 1)),
        (("libopus", 48_000, 1), ("libopus", 48_000, 1)),
        (("flac", 16_000, 1), ("flac", 16_000, 1)),
    ],
    ids=["alike", "three", "opus", "flac"],
)
def test_all_links_of_a_chained_ogg_are_heard(
    tmp_path: Path, links: tuple[tuple[str, int, int], ...]
) -> None:
    path = tmp_path / "a.ogg"
    lengths = chained(path, *links)
    heard = pitches(path, None, None)
    assert len(heard) / RATE == pytest.approx(sum(lengths), abs=0.1)
    begins = 0.0
    for n, length in enumerate(lengths):
        middle = heard[int((begins + 0.3) * RATE) : int((begins + length - 0.3) * RATE)]
        assert pitch(middle) == pytest.approx(400 * (n + 1), rel=0.01)
        part = pitches(path, begins + 0.3, begins + length - 0.3)
        assert len(part) == len(middle) and pitch(part) == pytest.approx(400 * (n + 1), rel=0.01)
        begins += length


@pytest.mark.parametrize(("rate", "channels", "what"), [(44_100, 1, "Sample rate"), (16_000, 2, "Channel")])
def test_a_link_that_cannot_be_read_is_told_by_name(
    tmp_path: Path, rate: int, channels: int, what: str
) -> None:
    path = tmp_path / "a.ogg"
    chained(path, ("libvorbis", 16_000, 1), ("libvorbis", rate, channels))
    spans = [Span(MediaRef("x", *bounds), rates=(RATE,)) for bounds in ((None, None), (0.5, 1.5), (3.0, 4.0))]
    whole, first, second = read_spans(path, spans, LIMITS)
    assert len(whole.sounds[RATE]) == 2 * RATE and f"{what} change is not supported" in whole.notes["audio"]
    assert len(first.sounds[RATE]) == RATE and not first.notes
    assert second.no_sound is not None and second.no_sound.reason is Reason.UNREADABLE
    assert f"{what} change is not supported" in second.no_sound.detail


def pitches(path: Path, start: float | None, end: float | None) -> Sound:
    (clip,) = read_spans(path, [Span(MediaRef("x", start, end), rates=(RATE,))], LIMITS)
    assert clip.no_sound is None, clip.no_sound
    return clip.sounds[RATE]


def pitch(sound: Sound) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * RATE / len(sound))


def test_an_mp3_without_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    """Quiet, then loud: an estimate by the first frames is four times too long, the other way round too short."""
    quiet, loud = np.zeros((20 * RATE, 1), np.float32), noise(1, 20)
    for name, sound in (("a.mp3", np.concatenate([quiet, loud])), ("b.mp3", np.concatenate([loud, quiet]))):
        path = encoded(tmp_path / name, sound, "-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0")
        facts = probe(path, LIMITS)
        assert facts.sound_end == pytest.approx(40, abs=0.2)
        limits = Limits(seconds=20, duration=100)
        heard, _ = read_sound(path, MediaRef(name), limits)
        assert len(heard) / RATE == pytest.approx(40, abs=0.2)
        at = 30.0 if name == "a.mp3" else 5.0
        piece, _ = read_sound(path, MediaRef(name, at, at + 1), LIMITS)
        right = sound[int(at * RATE) : int((at + 1) * RATE), 0]
        assert max(np.correlate(piece, right, "same")) > 0.8 * float(right @ right)


def silent(path: Path) -> Callable[[], object]:
    return lambda: read_sound(path, MediaRef(path.name), LIMITS)


def test_true_silence_is_silence(tmp_path: Path) -> None:
    for channels in (1, 2, 6):
        path = encoded(tmp_path / f"{channels}.wav", 0 * noise(channels))
        assert reason_of(silent(path)) is Reason.SILENT


def test_a_clock_of_an_ogg_page_that_no_64_bits_hold_costs_no_sample(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.ogg", noise(seconds=3), "-c:a", "libvorbis")
    whole, _ = read_sound(path, MediaRef(path.name), LIMITS)
    data = bytearray(path.read_bytes())
    pages = [at for at in range(len(data) - 4) if data[at : at + 4] == b"OggS"]
    at = pages[-2]
    data[at + 13] ^= 0x80  # the sign of the page's time
    seal_ogg(data, at)
    path.write_bytes(data)
    damaged, _ = read_sound(path, MediaRef(path.name), LIMITS)
    # FFmpeg, too, then plays the last block to its end.
    np.testing.assert_allclose(damaged[: len(whole)], whole, atol=1e-4)
