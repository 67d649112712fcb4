"""Write a clip to an mp4 file with H.264 video and AAC sound. Equal pictures and sound samples give equal bytes."""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import ffmpeg
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray
from PIL import Image

from ercache.errors import WorkError
from extract.corpora.demo.generator.scene import HEIGHT, WIDTH
from extract.corpora.demo.generator.story import Broken
from extract.corpora.demo.generator.voice import FRAMES_PER_SECOND, SAMPLE_RATE

UNFINISHED = ".part"


def _command(sound: str | None, target: str) -> list[str]:
    size, rate = f"{WIDTH}x{HEIGHT}", FRAMES_PER_SECOND
    streams = [ffmpeg.input("pipe:0", threads=1, f="rawvideo", pix_fmt="rgb24", s=size, r=rate)]
    options = {"c:v": "libx264", "preset": "veryfast", "crf": 19, "pix_fmt": "yuv420p", "threads": 1}
    if sound is not None:
        streams.append(ffmpeg.input(sound, f="s16le", ar=SAMPLE_RATE, ac=1))
        options |= {"c:a": "aac", "b:a": "64k", "flags:a": "+bitexact"}
    options |= {"flags:v": "+bitexact", "fflags": "+bitexact", "map_metadata": -1, "f": "mp4"}
    output = ffmpeg.output(*streams, target, **options).global_args("-hide_banner", "-loglevel", "error")
    return list(output.compile(cmd=get_ffmpeg_exe(), overwrite_output=True))


def encode(pictures: Iterable[Image.Image], samples: NDArray[np.float64] | None, path: Path) -> None:
    """Write pictures and sound as an mp4 file.

    Args:
        pictures: RGB frames.
        samples: mono samples in [-1, 1]; None for no sound track.
        path: path of the file.

    Raises:
        WorkError: ffmpeg failed; the error contains ffmpeg's message.
    """
    with tempfile.TemporaryDirectory(prefix="ercache-demo-") as folder:
        sound = None
        if samples is not None:
            sound = str(Path(folder) / "sound.s16")
            Path(sound).write_bytes(np.round(samples * 32767).astype("<i2").tobytes())
        messages = Path(folder) / "messages"
        with messages.open("wb") as stderr:
            process = subprocess.Popen(
                _command(sound, str(path)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # an interrupt must not leave a cut clip that looks complete
            )
            try:
                process.communicate(b"".join(picture.tobytes() for picture in pictures))
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            words = messages.read_text(errors="replace").strip()
            raise WorkError(
                f"demo: ffmpeg could not write {path.name}: {words}",
                hint="check that ffmpeg has the encoder libx264 and that the disk has room, then run again",
            )


def write_clip(
    pictures: Iterable[Image.Image], samples: NDArray[np.float64], path: Path, broken: Broken | None
) -> None:
    """Write the mp4 file of a clip. It gets its final name only when it is complete, so no half-written clip remains.

    Args:
        pictures: RGB frames.
        samples: mono samples in [-1, 1].
        path: path of the file.
        broken: how to break the file deliberately (without sound, zero bytes, or cut off); None for an intact file.
    """
    temporary = path.with_name(path.name + UNFINISHED)
    sound: NDArray[np.float64] | None = samples
    if broken is not None and broken.kind == "silent":
        sound = None if broken.how == "no sound track" else np.zeros_like(samples)
    try:
        if broken is not None and broken.how == "file of zero bytes":
            temporary.write_bytes(b"")
        else:
            encode(pictures, sound, temporary)
            if broken is not None and broken.kind == "truncated":
                # The index of an mp4 file is at its end; without it nothing can be decoded.
                os.truncate(temporary, temporary.stat().st_size * 6 // 10)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
