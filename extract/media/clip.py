"""Media files to pictures and sound: all that is wanted of a file is read in one pass, and given out as it is there.

Whatever is wrong with a file ends in a `Missing` with a reason and the tool's own words, and whatever is less than was
asked for, without the file's end as the reason, is told in a note. Nothing here raises anything else for bad media.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.audio import OPPOSED, Piece, between, mixed, resampled, seconds_of, window
from extract.media.container import opened
from extract.media.decode import Pass, Wanted, Window
from extract.media.probe import Probe, why_no_pictures, why_no_sound
from extract.media.recording import Recording
from extract.media.scaling import cropped
from extract.media.types import FloatArray, Frame, Pictures, Times
from extract.media.video import Branch, asked_for, branch_of, instants, shown_at

# Raise it when the same file gives other pictures or another sound than before: what was made of it is made anew.
VERSION: Final = 2
LACKS: Final = 0.1  # seconds of sound that decoders may swallow at the beginning of a stretch
Chosen = dict[Pictures, Times]
Tick = Callable[[], None]
Notes = dict[Pictures | str, str]


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
        notes: a kind of pictures, or `visual` or `audio` for all -> what is less, or other, than was asked for.
    """

    pictures: dict[Pictures, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    no_pictures: Missing | None = None
    no_sound: Missing | None = None
    notes: Notes = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        pictures = sum(f.image.nbytes for frames in self.pictures.values() for f in frames)
        return pictures + sum(sound.nbytes for sound in self.sounds.values())


def read_stretches(path: Path, stretches: Sequence[Stretch], limits: Limits) -> list[Clip]:
    """Pictures and sound of some stretches of one file, each as if it were read alone.

    The picture of an instant is the one on show then: the last that began at or before it. Only the first
    `limits.duration` seconds of a longer stretch are looked at. A damaged file gives what decodes. Sound is mixed
    down from all channels at its native rate, and resampled once for each rate.
    """
    clips = dict(read_clips(path, stretches, limits))
    return [clips[n] for n in range(len(stretches))]


def read_clips(
    path: Path, stretches: Sequence[Stretch], limits: Limits, tick: Tick = lambda: None
) -> Iterator[tuple[int, Clip]]:
    """Like `read_stretches`, each with its number as soon as it is read; memory holds those being read alone.

    Args:
        tick: called again and again while the file is read.
    """
    left = dict(enumerate(stretches))
    try:
        for number, clip in _read(path, stretches, limits, tick):
            del left[number]
            yield number, clip
    except Missing as missing:
        pictures = any(stretch.pictures for stretch in left.values())
        if missing.reason is Reason.TIMEOUT and pictures and any(stretch.rates for stretch in left.values()):
            yield from _sound_alone(path, left, limits, missing, tick)
        else:
            for number, stretch in left.items():
                yield number, nothing(stretch, missing)


def _sound_alone(
    path: Path, stretches: Mapping[int, Stretch], limits: Limits, missing: Missing, tick: Tick
) -> Iterator[tuple[int, Clip]]:
    """Sound of stretches whose pictures took too long: it does not take theirs."""
    numbers = list(stretches)
    without = [replace(stretch, pictures=()) for stretch in stretches.values()]
    for n, clip in read_clips(path, without, limits, tick):
        pictures = bool(stretches[numbers[n]].pictures)
        yield numbers[n], replace(clip, no_pictures=missing if pictures else None)


def _read(path: Path, stretches: Sequence[Stretch], limits: Limits, tick: Tick) -> Iterator[tuple[int, Clip]]:
    state = path.stat() if path.is_file() else None
    stamp = (state.st_size, state.st_mtime_ns, state.st_ino) if state else ()
    with opened(path, limits, tick) as (again, clock, complaints):
        recording = Recording(again, clock, complaints, _known().get((path, stamp)))
        _remember(path, stamp, recording.facts)
        orders = [_order(n, s, recording.facts, limits) for n, s in enumerate(stretches)]
        for found in _Reading(recording, orders, limits).run():
            with clock.stopped():
                yield found


@functools.cache
def _known() -> dict[tuple[Path, tuple[int, ...]], Probe]:
    """Facts of the files that this process read last: the shards of a long recording need them again and again."""
    return {}


def _remember(path: Path, stamp: tuple[int, ...], facts: Probe) -> None:
    known = _known()
    known[path, stamp] = known.pop((path, stamp), facts)
    for oldest in list(known)[:-4]:
        del known[oldest]


@dataclass(frozen=True)
class _Order:
    """What a stretch wants of a file, in the file's own terms.

    Attributes:
        chosen: when the pictures begin, by kind.
        asked: how many pictures of a kind there should be.
        window: on the file's own clock; None when no sound is wanted or there is none.
        end: when all of it was read, seconds from the start of the file: by this its turn is decided.
    """

    number: int
    stretch: Stretch
    chosen: Chosen = field(default_factory=dict)
    asked: Mapping[Pictures, int] = field(default_factory=dict)
    window: Window | None = None
    no_pictures: Missing | None = None
    no_sound: Missing | None = None
    end: float = -np.inf

    @property
    def branches(self) -> list[tuple[Branch, Times]]:
        """How its pictures are filtered, and when they begin."""
        return [(branch_of(kind, self.stretch.ref), times) for kind, times in self.chosen.items()]

    @property
    def last_picture(self) -> float:
        """When its last picture begins, seconds."""
        return max((float(times[-1]) for _, times in self.branches), default=-np.inf)


def _order(number: int, stretch: Stretch, facts: Probe, limits: Limits) -> _Order:
    no_sound = why_no_sound(facts) if stretch.rates else None
    heard = window(stretch.ref, facts, limits.duration) if stretch.rates and no_sound is None else None
    chosen: Chosen = {}
    asked: dict[Pictures, int] = {}
    no_pictures = None
    try:
        chosen, asked = _choose(stretch, facts, limits)
    except Missing as missing:
        no_pictures = missing
    order = _Order(number, stretch, chosen, asked, heard, no_pictures, no_sound)
    end = -np.inf if heard is None else heard[1] - facts.origin
    return replace(order, end=max(order.last_picture, end))


def _choose(stretch: Stretch, facts: Probe, limits: Limits) -> tuple[Chosen, dict[Pictures, int]]:
    """When the pictures begin that a stretch wants, and how many there should be.

    Raises:
        Missing: it has none.
    """
    if not stretch.pictures:
        return {}, {}
    fault = why_no_pictures(facts, limits.pixels)
    if fault is not None:
        raise fault
    times = facts.frame_times
    try:
        wanted = {
            k: instants(k, times, facts.key_times, stretch.ref, limits.duration) for k in stretch.pictures
        }
    except Missing as missing:
        if facts.ended_by:
            raise Missing(Reason.UNREADABLE, facts.ended_by) from missing
        raise
    chosen = {kind: shown_at(times, at) for kind, at in wanted.items()}
    megabytes = 3e-6 * facts.width * facts.height * sum(map(len, chosen.values()))
    if megabytes > limits.megabytes:
        raise Missing(Reason.TOO_LARGE, f"{megabytes:.0f} MB of pictures")
    return chosen, {k: asked_for(at, times, stretch.ref, limits.duration) for k, at in wanted.items()}


class _Reading:
    """One pass over a file for some stretches; what no stretch needs any more is let go of."""

    def __init__(self, recording: Recording, orders: Sequence[_Order], limits: Limits) -> None:
        self._recording = recording
        self._left = sorted(orders, key=lambda order: (order.end, order.number))
        wanted: dict[Branch, list[Times]] = {}
        for order in orders:
            for branch, times in order.branches:
                wanted.setdefault(branch, []).append(times)
        pictures = {branch: np.unique(np.concatenate(times)) for branch, times in wanted.items()}
        windows = [order.window for order in orders if order.window is not None]
        self._pass = Pass(recording, Wanted(pictures, windows), limits)

    def run(self) -> Iterator[tuple[int, Clip]]:
        """Each stretch with its number, once nothing that belongs to it will come any more."""
        for _ in self._pass.run():
            while self._left and self._is_done(self._left[0]):
                order = self._left.pop(0)
                yield order.number, self._clip(order)
                self._forget()

    def _is_done(self, order: _Order) -> bool:
        until = self._pass.until
        heard = order.window is None or until["audio"] >= order.window[1]
        return heard and (not order.chosen or until["video"] > order.last_picture)

    def _forget(self) -> None:
        first = min((float(t[0]) for order in self._left for _, t in order.branches), default=np.inf)
        for images in self._pass.images.values():
            for time in [time for time in images if time < first]:
                del images[time]
        start = min((order.window[0] for order in self._left if order.window is not None), default=np.inf)
        pieces = self._pass.pieces
        while len(pieces) > 1 and pieces[0].end / pieces[0].rate < start:
            pieces.pop(0)

    def _clip(self, order: _Order) -> Clip:
        notes: Notes = {}
        no_pictures, no_sound = order.no_pictures, order.no_sound
        pictures: dict[Pictures, tuple[Frame, ...]] = {}
        sounds: dict[int, FloatArray] = {}
        try:
            pictures = self._pictures(order, notes)
        except Missing as missing:
            no_pictures = missing
        try:
            sounds = self._sounds(order, notes)
        except Missing as missing:
            no_sound = missing
        self._note_the_end(order.stretch.ref, {"visual": bool(pictures), "audio": bool(sounds)}, notes)
        return Clip(pictures, sounds, no_pictures, no_sound, notes)

    def _note_the_end(self, ref: MediaRef, got: Mapping[str, bool], notes: Notes) -> None:
        """Tell of what lies within the duration that the file states, but not in the file."""
        facts = self._recording.facts
        ends = {"visual": facts.pictures_end, "audio": facts.sound_end}
        for modality in (modality for modality, some in got.items() if some and facts.ends_early):
            end = ends[modality]
            if ref.end is None or end is None or ref.end > end + LACKS:
                notes[modality] = "; ".join(filter(None, (notes.get(modality), facts.ends_early)))

    def _pictures(self, order: _Order, notes: Notes) -> dict[Pictures, tuple[Frame, ...]]:
        found = {kind: self._frames(order, kind, times) for kind, times in order.chosen.items()}
        if not all(found.values()):
            words = self._recording.complaints.text()
            large = "exceeds specified max pixel count" in words
            raise Missing(
                Reason.TOO_LARGE if large else Reason.UNREADABLE, words or "no picture could be decoded"
            )
        for kind, frames in found.items():
            if len(frames) < order.asked[kind]:  # lost, or a picture stands still where others were to come
                notes[kind] = f"frames {len(frames)} of {order.asked[kind]}"
        return found

    def _frames(self, order: _Order, kind: Pictures, times: Times) -> tuple[Frame, ...]:
        images = self._pass.images[branch_of(kind, order.stretch.ref)]
        crop = None if kind.side else order.stretch.ref.crop
        return tuple(Frame(t, cropped(images[t], crop)) for t in map(float, times) if t in images)

    def _sounds(self, order: _Order, notes: Notes) -> dict[int, FloatArray]:
        if order.window is None:
            return {}
        pieces = between(self._pass.pieces, *order.window)
        self._check_sound(order.window, pieces, notes)
        runs, opposed = mixed(pieces)
        if not all(np.isfinite(sound).all() for _, sound in runs):
            raise Missing(Reason.UNREADABLE, "the samples are not numbers")
        if not any(sound.any() for _, sound in runs):
            raise Missing(Reason.SILENT, "every sample is 0")
        if opposed:
            notes["audio"] = "; ".join(filter(None, (notes.get("audio"), OPPOSED)))
        return {rate: resampled(runs, rate) for rate in order.stretch.rates}

    def _check_sound(self, wanted: Window, pieces: Sequence[Piece], notes: Notes) -> None:
        """See whether all of the sound is there that the file says it has.

        Raises:
            Missing: none of it is.
        """
        facts, complaints = self._recording.facts, self._recording.complaints
        packets = facts.audio
        begins = np.maximum(packets.begins + facts.origin, wanted[0])
        ends = np.minimum(packets.begins + facts.origin + packets.lengths, wanted[1])
        promised = float(np.nansum(np.maximum(ends - begins, 0)[packets.shown]))
        got = seconds_of(pieces)
        if not got:
            beyond = packets.end is None or wanted[0] >= packets.end + facts.origin
            if promised > LACKS or (facts.ended_by and beyond):
                raise Missing(
                    Reason.UNREADABLE, facts.ended_by or complaints.text() or "no sound could be decoded"
                )
            raise Missing(Reason.NO_AUDIO, "the stretch holds no sound")
        if promised - got > max(LACKS, 0.02 * promised):
            notes["audio"] = f"sound {got:.2f} of {promised:.2f} s"


def nothing(stretch: Stretch, missing: Missing) -> Clip:
    """A stretch that gave nothing of what was wanted of it."""
    return Clip(
        no_pictures=missing if stretch.pictures else None, no_sound=missing if stretch.rates else None
    )
