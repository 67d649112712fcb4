"""Decode a file with a plain FFmpeg command, as the reference for hostile files.

FFmpeg runs with one thread and tolerates errors as it does by default. Timestamps leave nothing out: the reference has
all pictures that the decoder shows, in its order, and all samples, one after the other.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMB: Final = (32, 24)  # width, height
MOST: Final = 600  # pictures
_FORMAT: Final = re.compile(r"Input #0, ([\w,]+), from")
_SHOWN: Final = re.compile(r"Parsed_showinfo\S* @ \w+\] \[info\] n: *\d+ pts: *\S+ +pts_time: *(\S+)")
_PACKET: Final = re.compile(r"\[showinfo @ \w+\] \[info\] n: *\d+ size: *\d+ pts:\S+ pt:(\S+) ")
_HEARD: Final = re.compile(r"Parsed_ashowinfo\S* @ \w+\] \[info\] n:\d+ .*? channels:(\d+) .*?rate:(\d+) ")

Thumbs = NDArray[np.uint8]

_WRITING: Final = re.compile(r"\[(rawvideo|f32le) @")  # what the outputs complain of is no error of the data


@dataclass(frozen=True)
class Truth:
    """The pictures and the sound that FFmpeg decodes from a file.

    Attributes:
        thumbs: small copies of all pictures, in order, [n, 24, 32, 3].
        times: time of each picture in seconds; NaN if it has none.
        stated: time that the file states for each packet of pictures in seconds; NaN if it states none.
        samples: mono sound at the sampling rate `rate`.
        formats: names of the demuxer that FFmpeg chose; empty if it found none.
        changes: whether sampling rate or number of channels changed within the file.
        complained: whether FFmpeg reported errors.
        starved: whether FFmpeg could not get the memory that the file asks for.
        turned: whether FFmpeg turned the pictures by an angle that no camera states.
        late: whether FFmpeg took longer than the time limit.
    """

    thumbs: Thumbs
    times: NDArray[np.float64]
    stated: NDArray[np.float64]
    samples: NDArray[np.float32]
    rate: int
    channels: int
    formats: frozenset[str]
    changes: bool
    complained: bool
    starved: bool
    turned: bool
    late: bool

    @property
    def twice(self) -> int:
        """Number of packets of pictures for which the file states a time that it states for another one as well."""
        known = self.stated[~np.isnan(self.stated)]
        return len(known) - len(np.unique(known))

    @property
    def rising(self) -> bool:
        """Whether every picture has a time, and the times increase."""
        return not np.isnan(self.times).any() and bool((np.diff(self.times) > 0).all())


def truth_of(path: Path, seconds: float) -> Truth:
    """Decode a file with FFmpeg, once for the pictures and once for the sound, and list the packets of pictures."""
    size = f"{THUMB[0]}:{THUMB[1]}"
    pictures = (
        "-map",
        "0:V:0?",
        "-vf",
        f"showinfo=checksum=0,scale={size}:flags=area,format=rgb24",
        "-frames:v",
        str(MOST),
    )
    raw, said, late = _run(path, (*pictures, "-fps_mode", "passthrough", "-f", "rawvideo"), seconds)
    thumbs = np.frombuffer(raw, np.uint8, len(raw) // (THUMB[0] * THUMB[1] * 3) * THUMB[0] * THUMB[1] * 3)
    thumbs = thumbs.reshape(-1, THUMB[1], THUMB[0], 3)
    times = [float("nan") if t == "NOPTS" else float(t) for t in _SHOWN.findall(said)][: len(thumbs)]
    mono = "ashowinfo,aresample=ochl=mono:rematrix_maxval=1"
    raw, heard, slow = _run(path, ("-map", "0:a:0?", "-af", mono, "-f", "f32le"), seconds)
    packets = ("-map", "0:V:0?", "-c", "copy", "-frames:v", str(MOST), "-bsf:v", "showinfo", "-f", "null")
    _, passed, _ = _run(path, packets, seconds)
    stated = [float("nan") if at == "NOPTS" else float(at) for at in _PACKET.findall(passed)]
    kinds = list(dict.fromkeys(_HEARD.findall(heard)))
    channels, rate = map(int, kinds[0]) if kinds else (0, 0)
    found = _FORMAT.search(said) or _FORMAT.search(heard)
    return Truth(
        thumbs,
        np.array([*times, *[float("nan")] * (len(thumbs) - len(times))]),
        np.array(stated, np.float64),
        np.frombuffer(raw, "<f4", len(raw) // 4).astype(np.float32),
        rate,
        channels,
        frozenset(found[1].split(",")) if found else frozenset(),
        len(kinds) > 1,
        any("[error]" in line and not _WRITING.match(line) for line in (said + heard).splitlines()),
        "Cannot allocate memory" in said + heard,
        "Odd rotation angle" in said,
        late or slow,
    )


def thumb_of(image: NDArray[np.uint8]) -> Thumbs:
    """Shrink a picture [height, width, 3] to the size of the reference, [24, 32, 3]."""
    return np.asarray(Image.fromarray(image).resize(THUMB, Image.Resampling.BOX))


def _run(path: Path, output: tuple[str, ...], seconds: float) -> tuple[bytes, str, bool]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "level+info", "-nostdin", "-nostats", "-threads", "1"]
    # Times as the file states them; those that it leaves out are filled in, or a lost picture would shift all others.
    command += ["-copyts", "-fflags", "+genpts", "-i", f"file:{path}", *output, "pipe:1"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        return error.stdout or b"", (error.stderr or b"").decode(errors="replace"), True
    return done.stdout, done.stderr.decode(errors="replace"), False
