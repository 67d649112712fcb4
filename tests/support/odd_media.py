"""Make broken and unusual media files. All start from one clip whose content shows which time was read.

A maker is a function that writes a file; most functions here return one. The clip lasts 2 s. The first second has a
face on the left and a tone of 500 Hz, the second one has the same face mirrored on the right and a tone of 2000 Hz.
Pictures are 192 x 144 at 10 a second, sound is mono at 16 kHz.
"""

import os
import random
import socket
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT, FPS, RATE = 192, 144, 10, 16_000
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p")
MJPEG = ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
PCM = ("-c:a", "pcm_s16le")


@dataclass(frozen=True)
class Material:
    """Files that the makers start from.

    Attributes:
        pictures: the pictures of the clip in a lossless file.
        sound: the sound of the clip as wav.
        clip: the clip as mp4 (H.264, AAC, index at the end).
        port: port of a server on this machine; no media reader may connect to it.
    """

    pictures: Path
    sound: Path
    clip: Path
    port: int


Make = Callable[[Material, Path], object]


def material(folder: Path, port: int) -> Material:
    """Make the files that the makers start from."""
    made = Material(folder / "pictures.mkv", folder / "sound.wav", folder / "clip.mp4", port)
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    face = Image.fromarray(astronaut[20:212, 130:322]).resize((110, 110))
    left = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    left[17:127, :110] = np.asarray(face)
    frames = left.tobytes() * FPS + left[:, ::-1].tobytes() * FPS
    shape = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS))
    ffmpeg(*shape, "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0", str(made.pictures), data=frames)
    wav(tones())(made, made.sound)
    encoded()(made, made.clip)
    return made


def tones(rate: int = RATE) -> NDArray[np.float32]:
    """The sound of the clip, [2 * rate], with a peak of 0.5."""
    time = np.arange(rate) / rate
    return np.concatenate([0.5 * np.sin(2 * np.pi * f * time) for f in (500, 2000)]).astype(np.float32)


def ffmpeg(*arguments: str, data: bytes = b"") -> None:
    """Run FFmpeg. Fail the test if FFmpeg fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", *arguments]
    done = subprocess.run(command, input=data, capture_output=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr.decode(errors='replace')}"


def encoded(*options: str, before: tuple[str, ...] = ()) -> Make:
    """Maker of the clip: pictures (input 0) and sound (input 1), encoded with the given options."""

    def make(m: Material, path: Path) -> None:
        inputs = ("-i", f"file:{m.pictures}", *before, "-i", f"file:{m.sound}")
        ffmpeg(*inputs, *X264, *options, f"file:{path}")

    return make


def heard(*options: str) -> Make:
    """Maker of a file with the clip's sound only."""
    return lambda m, path: ffmpeg("-i", str(m.sound), *options, f"file:{path}")


def seen(*options: str) -> Make:
    """Maker of a file with the clip's pictures only."""
    return lambda m, path: ffmpeg("-i", str(m.pictures), *options, f"file:{path}")


def copied(*options: str, before: tuple[str, ...] = (), of: Make | None = None) -> Make:
    """Maker that copies the streams of the clip, or of another maker's file, into a new container."""

    def make(m: Material, path: Path) -> None:
        source = m.clip
        if of is not None:
            source = beside(m, path)
            of(m, source)
        ffmpeg(*before, "-i", f"file:{source}", "-c", "copy", *options, f"file:{path}")

    return make


def beside(m: Material, path: Path) -> Path:
    """Path outside the corpus for an intermediate file."""
    return m.clip.with_name(f"{abs(hash(path))}{path.suffix}")


def content(data: bytes | str) -> Make:
    """Maker of a file with these bytes or this text. `{port}` in a text becomes the server's port."""
    if isinstance(data, bytes):
        return lambda m, path: path.write_bytes(data)
    return lambda m, path: path.write_text(data.replace("{port}", str(m.port)))


def named() -> Make:
    """Maker of the clip with an additional box that holds the file's name.

    Without it, files with equal content would be inspected only once.
    """

    def make(m: Material, path: Path) -> None:
        name = os.fsencode(path.name)
        path.write_bytes(m.clip.read_bytes() + struct.pack(">I", 8 + len(name)) + b"free" + name)

    return make


def changed(of: Make, change: Callable[[bytes], bytes]) -> Make:
    """Maker that changes the bytes of another maker's file."""

    def make(m: Material, path: Path) -> None:
        of(m, path)
        path.write_bytes(change(path.read_bytes()))

    return make


def truncated(of: Make, fraction: float) -> Make:
    """Maker that keeps only the beginning of a file."""
    return changed(of, lambda data: data[: int(len(data) * fraction)])


def flipped(of: Make, low: float, high: float, count: int) -> Make:
    """Maker that flips some bits between two places of a file, given as fractions of its length."""

    def flip(data: bytes) -> bytes:
        draw, damaged = random.Random(f"{low} {high} {count}"), bytearray(data)
        for _ in range(count):
            place = draw.randrange(int(low * len(data)), int(high * len(data)))
            damaged[place] ^= 1 << draw.randrange(8)
        return bytes(damaged)

    return changed(of, flip)


def patched(of: Make, mark: bytes, offset: int, new: bytes) -> Make:
    """Maker that overwrites some bytes of a file, at an offset from the end of the first match of a byte sequence."""

    def patch(data: bytes) -> bytes:
        at = data.index(mark) + len(mark) + offset
        return data[:at] + new + data[at + len(new) :]

    return changed(of, patch)


def wav(
    samples: NDArray[np.float32], rate: int = RATE, promised: int | None = None, floats: bool = False
) -> Make:
    """Maker of a hand-written wav file: mono, 16 bit or float, with a header that may state a wrong number of bytes."""
    data = samples.astype("<f4") if floats else np.round(samples * 32767).astype("<i2")
    width = data.itemsize
    size = data.nbytes if promised is None else promised
    head = struct.pack("<HHIIHH", 3 if floats else 1, 1, rate, rate * width & 0xFFFFFFFF, width, 8 * width)
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size)
    riff = b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, len(chunks) + size)) + chunks
    return content(riff + data.tobytes())


def slow(m: Material, path: Path) -> None:
    """Make a file of a few megabytes that takes minutes to decode: 60,000 large pictures in one minute, with sound."""
    source, group = "color=black:s=1920x1080:r=1000", beside(m, path)
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "100", *X264, "-preset", "ultrafast", str(group))
    both = ("-stream_loop", "599", "-i", str(group), "-i", str(m.sound), "-map", "0", "-map", "1")
    ffmpeg(*both, "-c:v", "copy", str(path))


def zipped(m: Material, path: Path) -> None:
    """Make a zip archive with the clip in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(m.clip, "clip.mp4")


def link(target: str) -> Make:
    """Maker of a symbolic link."""
    return lambda m, path: path.symlink_to(target)


def outside(m: Material, path: Path) -> None:
    """Make a symbolic link to a good clip outside the corpus."""
    path.symlink_to(m.clip)


def locked(m: Material, path: Path) -> None:
    """Make a copy of the clip without the permission to read it."""
    named()(m, path)
    path.chmod(0)


def permissions_hold() -> bool:
    """Whether file permissions apply to this process; they do not apply to root."""
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0)
        return not os.access(file.name, os.R_OK)


def special(m: Material, path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's own path must be short
        os.close(folder)


def pipe(m: Material, path: Path) -> None:
    """Make a FIFO without a writer. It replaces an existing file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
