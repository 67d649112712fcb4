"""Media files to pictures and sound. All that is wanted of a file is read in one pass of FFmpeg.

Whatever is wrong with a file ends in a `Missing` with a reason and the tool's own words. Nothing here raises
anything else for bad media, waits longer than `limits.seconds` a pass, or opens a file that it was not given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.manifest import MediaRef
from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.decode import Output, complaints, decode, has_errors
from extract.encoders.base import FloatArray, Frame, Pictures
from extract.pictures import (
    Branch,
    Image,
    Times,
    branch_of,
    cropped,
    cut,
    instants,
    picture_outputs,
    shown_at,
)
from extract.probe import Probe, probe_stretches
from extract.sound import Sound, decoded, resample, sound_output, window

RATES: Final = range(1_000, 768_001)  # Hz; a header that says otherwise is damaged
Chosen = dict[Pictures, Times]


@dataclass(frozen=True)
class Stretch:
    """A stretch of a file and what is wanted of it: kinds of pictures, and rates of sound in Hz."""

    ref: MediaRef
    pictures: tuple[Pictures, ...] = ()
    rates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Clip:
    """What a stretch gave, or why it gave no pictures or no sound.

    Attributes:
        pictures: for each kind asked for, in order of time.
        sounds: rate -> mono samples in [-1, 1], [n].
    """

    pictures: dict[Pictures, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    no_pictures: Missing | None = None
    no_sound: Missing | None = None


def read_stretches(path: Path, stretches: Sequence[Stretch], limits: Limits) -> list[Clip]:
    """Pictures and sound of some stretches of one file, each as if it were read alone.

    The picture of an instant is the one on show then: the last that began at or before it. Only the first
    `limits.duration` seconds of a longer stretch are looked at. A damaged file gives what decodes. Sound is mixed
    down from all channels at its native rate, and resampled once for each rate.
    """
    clips = _read(path, stretches, limits)
    both = any(s.pictures for s in stretches) and any(s.rates for s in stretches)
    if not both or not any(_in_doubt(clip) for clip in clips):
        return clips
    # Pictures that cannot be read may have kept the sound from being read, or lent it their words, and vice versa.
    seen = _read(path, [replace(s, rates=()) for s in stretches], limits)
    heard = _read(path, [replace(s, pictures=()) for s in stretches], limits)
    return [Clip(a.pictures, b.sounds, a.no_pictures, b.no_sound) for a, b in zip(seen, heard, strict=True)]


def _in_doubt(clip: Clip) -> bool:
    faults = [m.reason for m in (clip.no_pictures, clip.no_sound) if m is not None]
    return not {Reason.UNREADABLE, Reason.TIMEOUT, Reason.TOO_LARGE}.isdisjoint(faults)


def _read(path: Path, stretches: Sequence[Stretch], limits: Limits) -> list[Clip]:
    """Pictures and sound in one pass."""
    try:
        facts, no_times = probe_stretches(path, [s.ref for s in stretches if s.pictures], limits)
        chosen = [_choose(s, facts, no_times, limits) for s in stretches]
        deaf = _no_sound(facts)
        heard = [s.ref for s in stretches if s.rates and deaf is None]
        seen, sound = _pass(path, facts, stretches, _branches(stretches, chosen), heard, limits)
    except Missing as missing:
        return [nothing(s, missing) for s in stretches]
    clips = []
    for stretch, choice in zip(stretches, chosen, strict=True):
        pictures = choice if isinstance(choice, Missing) else seen.of(stretch, choice)
        sounds = (deaf or sound.of(stretch)) if stretch.rates else {}
        clips.append(
            Clip(
                {} if isinstance(pictures, Missing) else pictures,
                {} if isinstance(sounds, Missing) else sounds,
                pictures if isinstance(pictures, Missing) else None,
                sounds if isinstance(sounds, Missing) else None,
            )
        )
    return clips


@dataclass(frozen=True)
class _Seen:
    """Pictures of one pass."""

    path: Path
    images: dict[Branch, dict[float, Image]]
    said: str

    def of(self, stretch: Stretch, chosen: Chosen) -> dict[Pictures, tuple[Frame, ...]] | Missing:
        """The pictures of a stretch."""
        found = {kind: tuple(self._frames(stretch, kind, times)) for kind, times in chosen.items()}
        if all(found.values()):
            return found
        large = "exceeds specified max pixel count" in self.said
        words = complaints(self.said, self.path) or "no picture could be decoded"
        return Missing(Reason.TOO_LARGE if large else Reason.UNREADABLE, words)

    def _frames(self, stretch: Stretch, kind: Pictures, times: Times) -> list[Frame]:
        images = self.images[branch_of(kind, stretch.ref)]
        crop = None if kind.side else stretch.ref.crop
        return [Frame(t, cropped(images[t], crop)) for t in map(float, times) if t in images]


@dataclass(frozen=True)
class _Heard:
    """Sound of one pass."""

    path: Path
    facts: Probe
    sound: Sound
    said: str
    longest: float

    def of(self, stretch: Stretch) -> dict[int, FloatArray] | Missing:
        """The sound of a stretch at the rates that it wants."""
        samples = self.sound.between(*window(stretch.ref, self.facts, self.longest))
        if not samples.size and not has_errors(self.said):
            return Missing(Reason.NO_AUDIO, "the stretch holds no sound")
        if not samples.size:
            return Missing(Reason.UNREADABLE, complaints(self.said, self.path))
        if not np.isfinite(samples).all():
            return Missing(Reason.UNREADABLE, "the samples are not numbers")
        if not samples.any():
            return Missing(Reason.SILENT, "every sample is 0")
        return {rate: resample(samples, self.sound.rate, rate) for rate in stretch.rates}


def _pass(
    path: Path,
    facts: Probe,
    stretches: Sequence[Stretch],
    branches: dict[Branch, Times],
    heard: Sequence[MediaRef],
    limits: Limits,
) -> tuple[_Seen, _Heard]:
    """One pass of FFmpeg, if anything is wanted of it.

    Raises:
        Missing: TIMEOUT.
    """
    starts = [s.ref.start for s in stretches]
    start = min((s for s in starts if s is not None), default=0.0) if None not in starts else None
    windows = [window(ref, facts, limits.duration) for ref in heard]

    def outputs(source: Any) -> list[Output]:
        pictures = picture_outputs(source, branches, facts) if branches else []
        return [*pictures, *([sound_output(source, windows, facts)] if windows else [])]

    written: list[bytes] = []
    said = ""
    if branches or windows:
        written, said = decode(path, facts, start, outputs, limits)
    images = {
        branch: cut(written[n], said, n, times, facts.origin)
        for n, (branch, times) in enumerate(branches.items())
    }
    sound = decoded(written[-1] if windows else b"", said, facts.audio_rate or 0)
    return _Seen(path, images, said), _Heard(path, facts, sound, said, limits.duration)


def _choose(stretch: Stretch, facts: Probe, no_times: Missing | None, limits: Limits) -> Chosen | Missing:
    """When the pictures begin that a stretch wants, or why it has none."""
    if not stretch.pictures:
        return {}
    if no_times is not None:
        return no_times
    pixels = facts.width * facts.height
    if pixels > limits.pixels:
        return Missing(Reason.TOO_LARGE, f"{facts.width} x {facts.height} pixels")
    if "video" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "there is no decoder for its pictures")
    if not facts.frame_times.size:
        return Missing(Reason.NO_VIDEO, "no pictures in the file")
    times = facts.frame_times
    try:
        wanted = {
            k: instants(k, times, facts.key_times, stretch.ref, limits.duration) for k in stretch.pictures
        }
    except Missing as missing:
        return missing
    chosen = {kind: shown_at(times, at) for kind, at in wanted.items()}
    megabytes = 3e-6 * pixels * sum(map(len, chosen.values()))
    if megabytes > limits.megabytes:
        return Missing(Reason.TOO_LARGE, f"{megabytes:.0f} MB of pictures")
    return chosen


def _branches(stretches: Sequence[Stretch], chosen: Sequence[Chosen | Missing]) -> dict[Branch, Times]:
    """Everything that is wanted of a file's pictures, by how they are filtered."""
    wanted: dict[Branch, list[Times]] = {}
    for stretch, choice in zip(stretches, chosen, strict=True):
        if not isinstance(choice, Missing):
            for kind, times in choice.items():
                wanted.setdefault(branch_of(kind, stretch.ref), []).append(times)
    return {branch: np.unique(np.concatenate(times)) for branch, times in wanted.items()}


def _no_sound(facts: Probe) -> Missing | None:
    if "audio" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "there is no decoder for its sound")
    if facts.audio_rate is None:
        return Missing(Reason.NO_AUDIO, "no audio stream in the file")
    if facts.audio_rate not in RATES:
        return Missing(Reason.UNREADABLE, f"the header says {facts.audio_rate} Hz")
    return None


def nothing(stretch: Stretch, missing: Missing) -> Clip:
    """A stretch that gave nothing of what was wanted of it."""
    return Clip(
        no_pictures=missing if stretch.pictures else None, no_sound=missing if stretch.rates else None
    )
