"""Make thousands of hostile media files: a few small recordings, and random mutants of their bytes with a fixed seed.

A recording lasts 3 s. Picture n shows the number n as eight light or dark fields, so neighbouring pictures differ
clearly. The sound has another tone in each tenth of a second, with a little noise, so no two sections of it are alike.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.support.hostile_clocks import TS, slots
from tests.support.odd_media import ffmpeg

WIDTH, HEIGHT, FPS, RATE, SECONDS = 128, 96, 10, 16_000, 3
SEED: Final = 20261130
SUFFIXES: Final = ("mp4", "mkv", "webm", "ts", "flv", "avi", "mpg", "wav", "mp3", "ogg", "flac", "m4a")

_H264: Final = (
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-crf",
    "18",
    "-g",
    "10",
    "-bf",
    "2",
    "-pix_fmt",
    "yuv420p",
)
_AAC: Final = ("-c:a", "aac", "-b:a", "64k")
_FRAGMENTS: Final = ("-movflags", "+frag_keyframe+empty_moov", "-f", "mp4")
# What each base is made with, from pictures (input 0) and sound (input 1).
_BASES: Final[Mapping[str, tuple[str, ...]]] = {
    "mp4": (*_H264, *_AAC),
    "frag": (*_H264, *_AAC, *_FRAGMENTS),
    "mkv": (*_H264, *_AAC, "-f", "matroska", "-cluster_time_limit", "500"),
    "webm": ("-c:v", "libvpx", "-deadline", "realtime", "-g", "10", "-b:v", "500k", "-c:a", "libvorbis"),
    "ts": (*_H264, *_AAC, "-f", "mpegts"),
    "flv": (*_H264, *_AAC),
    "avi": ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"),
    "mpg": ("-c:v", "mpeg2video", "-r", "25", "-q:v", "4", "-bf", "2", "-c:a", "mp2", "-b:a", "64k", "-f", "vob"),
    "wav": ("-map", "1", "-c:a", "pcm_s16le"),
    "mp3": ("-map", "1", "-c:a", "libmp3lame", "-b:a", "64k"),
    "ogg": ("-map", "1", "-c:a", "libvorbis"),
    "flac": ("-map", "1", "-c:a", "flac"),
    "m4a": ("-map", "1", *_AAC),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A hostile media file: a recording with changed bytes.

    Attributes:
        name: file name; it contains a number, the recipe and the base recording.
        recipe: how the bytes were changed: `flipped head`, `one wild clock`, ...
        clocks: whether the times in the file may differ from those in the base recording.
    """

    name: str
    data: bytes
    recipe: str
    clocks: bool


def picture(number: int) -> NDArray[np.uint8]:
    """Draw the picture that shows a number, [HEIGHT, WIDTH, 3]."""
    bits = (number * 37) % 256
    fields = np.array([215 if bits >> n & 1 else 40 for n in range(8)], np.uint8).reshape(2, 4)
    grey = fields.repeat(HEIGHT // 2, 0).repeat(WIDTH // 4, 1)
    return np.repeat(grey[:, :, None], 3, 2)


def sound() -> NDArray[np.float32]:
    """Make the sound of a recording, [SECONDS * RATE]."""
    time = np.arange(SECONDS * RATE) / RATE
    step = (time * 10).astype(int)
    noise = np.random.default_rng(SEED).normal(0, 0.01, len(time))
    tone = 0.4 * np.sin(2 * np.pi * (300 + 97 * (step * 7 % 31)) * time)
    return (tone + noise).astype(np.float32)


def bases(folder: Path) -> dict[str, bytes]:
    """Make the recordings that the mutants are made from, one in each container format.

    Returns:
        A dictionary from container format to the bytes of the file.
    """
    seen, heard = folder / "seen.mkv", folder / "heard.wav"
    shape = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS))
    frames = b"".join(picture(n).tobytes() for n in range(SECONDS * FPS))
    ffmpeg(*shape, "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0", str(seen), data=frames)
    floats = ("-f", "f32le", "-ar", str(RATE), "-ac", "1")
    ffmpeg(*floats, "-i", "-", "-c:a", "pcm_s16le", str(heard), data=sound().tobytes())
    made = {}
    for name, options in _BASES.items():
        path = folder / f"{name}.{suffix_of(name)}"
        ffmpeg("-i", str(seen), "-i", str(heard), *options, "-fflags", "+bitexact", str(path))
        made[name] = path.read_bytes()
    return made


def suffix_of(base: str) -> str:
    """File suffix that fits the container format of a recording."""
    return "mp4" if base == "frag" else base


def mutants(of: Mapping[str, bytes], count: int) -> Iterator[Mutant]:
    """Make mutants, all different: every recipe is applied to every recording, again and again at new random places."""
    rounds = [(r, base) for r in RECIPES for base in of if r not in LYING or slots(of[base], base)]
    random.Random(SEED).shuffle(rounds)
    known = {hashlib.sha256(data).digest() for data in of.values()}
    for number, (recipe, base) in enumerate(itertools.cycle(rounds)):
        draw = random.Random(f"{SEED} {number}")
        other = draw.choice(sorted(of))
        data = bytes(RECIPES[recipe](Draw(draw, base, of[base], of[other])))
        if (digest := hashlib.sha256(data).digest()) in known:
            continue
        known.add(digest)
        suffix = draw.choice(SUFFIXES) if recipe == "wrong suffix" else suffix_of(base)
        more = f"-{other}" if recipe in TWO else ""
        name = f"{number:04d}-{recipe.replace(' ', '-')}-{base}{more}.{suffix}"
        yield Mutant(name, data, recipe, recipe in CLOCKS)
        if (count := count - 1) == 0:
            return


@dataclass(frozen=True)
class Draw:
    """Input of a recipe: random numbers, name and bytes of a recording, and the bytes of another recording."""

    random: random.Random
    base: str
    data: bytes
    other: bytes

    def stretch(self, most: float = 0.3) -> tuple[int, int]:
        """Choose a random range of the file, of limited length. For MPEG-TS, it may consist of whole packets.

        Returns:
            First byte and end of the range.
        """
        unit = TS if self.base == "ts" and self.random.random() < 0.5 else 1
        length = max(1, int(len(self.data) * self.random.uniform(0.001, most)) // unit) * unit
        first = self.random.randrange(max(1, len(self.data) - length)) // unit * unit
        return first, min(first + length, len(self.data))


Recipe = Callable[[Draw], bytes | bytearray]


def _cut(d: Draw) -> bytes:
    return d.data[: d.random.randrange(1, len(d.data))]


def _headless(d: Draw) -> bytes:
    return d.data[d.random.randrange(1, len(d.data) // 2) :]


def _flipped(low: float, high: float) -> Recipe:
    """Make a recipe that flips bits between two places, given as fractions of the file's length."""

    def flip(d: Draw) -> bytearray:
        damaged = bytearray(d.data)
        for _ in range(d.random.choice((1, 3, 20, 200))):
            damaged[d.random.randrange(int(low * len(damaged)), int(high * len(damaged)))] ^= (
                1 << d.random.randrange(8)
            )
        return damaged

    return flip


def _flipped_index(d: Draw) -> bytearray:
    """Flip bits in the index of the file: in the moov box of mp4, at the end of avi and Matroska."""
    at = d.data.rfind(b"moov")
    first, last = (at, len(d.data)) if at > 0 else (int(0.97 * len(d.data)), len(d.data))
    damaged = bytearray(d.data)
    for _ in range(d.random.choice((1, 3, 20))):
        damaged[d.random.randrange(first, last)] ^= 1 << d.random.randrange(8)
    return damaged


def _overwritten(zeros: bool) -> Recipe:
    def overwrite(d: Draw) -> bytes:
        first, last = d.stretch()
        new = bytes(last - first) if zeros else d.random.randbytes(last - first)
        return d.data[:first] + new + d.data[last:]

    return overwrite


def _hole(d: Draw) -> bytes:
    """Insert zeros, more than a demuxer skips on its way to the next packet."""
    at = d.random.choice((d.random.randrange(len(d.data)), len(d.data)))
    return d.data[:at] + bytes(d.random.randrange(70_000, 300_000)) + d.data[at:]


def _removed(d: Draw) -> bytes:
    first, last = d.stretch()
    return d.data[:first] + d.data[last:]


def _repeated(d: Draw) -> bytes:
    first, last = d.stretch()
    return d.data[:last] + d.data[first:]


def _swapped(d: Draw) -> bytes:
    (a, b), (c, e) = sorted((d.stretch(0.1), d.stretch(0.1)))
    if b > c:
        return d.data[:a] + d.data[b:] + d.data[a:b]
    return d.data[:a] + d.data[c:e] + d.data[b:c] + d.data[a:b] + d.data[e:]


def _spliced(d: Draw) -> bytes:
    """Join the beginning of one file and the end of another file."""
    return d.data[: d.random.randrange(1, len(d.data))] + d.other[d.random.randrange(1, len(d.other)) :]


def _inserted(d: Draw) -> bytes:
    """Insert a section of another file."""
    at, first = d.random.randrange(len(d.data)), d.random.randrange(len(d.other))
    return d.data[:at] + d.other[first : first + d.random.randrange(1, 20_000)] + d.data[at:]


def _jump(draw: random.Random) -> float:
    return draw.choice((-1e5, -30.0, -2.0, 2.0, 11.0, 100.0, 3600.0, 40_000.0))


def _one_wild_clock(d: Draw) -> bytearray:
    """Move the time of one packet far ahead or back."""
    data = bytearray(d.data)
    slot = d.random.choice(slots(d.data, d.base))
    slot.add(data, round(_jump(d.random) * slot.second))
    return data


def _flipped_clock(d: Draw) -> bytearray:
    """Flip one bit of one stored time."""
    data = bytearray(d.data)
    slot = d.random.choice(slots(d.data, d.base))
    slot.add(data, d.random.choice((-1, 1)) << d.random.randrange(slot.bits // 3, slot.bits))
    return data


def _gap(d: Draw) -> bytearray:
    """Shift the times of all packets from one packet on."""
    data = bytearray(d.data)
    if found := [slot for slot in slots(d.data, d.base) if slot.absolute]:
        first, jump = d.random.randrange(len(found)), _jump(d.random)
        for slot in found[first:]:
            slot.add(data, round(jump * slot.second))
    return data


def _wrapped(d: Draw) -> bytearray:
    """Shift all times so that the clock overflows in the middle of the file."""
    data = bytearray(d.data)
    seconds = d.random.uniform(1, 4)
    for slot in slots(d.data, d.base):
        if slot.absolute:
            slot.add(data, -round(seconds * slot.second))
    return data


RECIPES: Final[Mapping[str, Recipe]] = {
    "cut off": _cut,
    "headless": _headless,
    "flipped head": _flipped(0, 0.02),
    "flipped body": _flipped(0.02, 1),
    "flipped index": _flipped_index,
    "zeroed": _overwritten(zeros=True),
    "hole": _hole,
    "noise": _overwritten(zeros=False),
    "removed": _removed,
    "repeated": _repeated,
    "swapped": _swapped,
    "joined to itself": lambda d: (
        d.data * d.random.choice((2, 3)) + d.random.randbytes(d.random.randrange(4))
    ),
    "joined": lambda d: d.data + d.other,
    "spliced": _spliced,
    "inserted": _inserted,
    "wrong suffix": lambda d: d.data + bytes(d.random.randrange(1, 8)),
    "one wild clock": _one_wild_clock,
    "flipped clock": _flipped_clock,
    "gap": _gap,
    "wrapped clock": _wrapped,
}
TWO: Final = frozenset({"joined", "spliced", "inserted"})
LYING: Final = frozenset({"one wild clock", "flipped clock", "gap", "wrapped clock"})
# Where the order of pictures and the instants at which they are shown are not the base's.
CLOCKS: Final = LYING | {"joined to itself", "joined"}
