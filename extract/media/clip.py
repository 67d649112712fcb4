"""Read pictures and sound from media files. One pass over a file reads all requested time spans.

A damaged file raises no exception. Instead, its clip says why pictures or sound are missing: a `Missing` holds a reason
and FFmpeg's own message. If only some of the pictures or of the sound could be decoded, a note in the clip says so.
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
from extract.media.audio import (
    OPPOSED,
    SoundPiece,
    mix_down,
    resampled,
    seconds_of,
    sound_between,
    sound_window,
)
from extract.media.container import open_media
from extract.media.decode import DecodeRequest, DecodingPass, Window
from extract.media.probe import Probe, why_no_pictures, why_no_sound
from extract.media.recording import Recording
from extract.media.scaling import cropped
from extract.media.types import FloatArray, Frame, PictureRequest, Times
from extract.media.video import PictureFilter, expected_count, instants, picture_filter_of, shown_at

# Raise it when the same file yields other pictures or other sound than before: features are then computed again.
VERSION: Final = 2
TOLERATED_LOSS: Final = 0.1  # seconds of sound that decoders may drop at the beginning of a span
Chosen = dict[PictureRequest, Times]
Tick = Callable[[], None]
Notes = dict[PictureRequest | str, str]


@dataclass(frozen=True)
class Span:
    """A time span of a file, usually an utterance, and what to read from it.

    Attributes:
        ref: the file, with the start and end of the span.
        pictures: requests for pictures (how many, chosen how, at which size); empty reads none.
        rates: sampling rates in Hz at which the sound is returned; empty reads no sound.
    """

    ref: MediaRef
    pictures: tuple[PictureRequest, ...] = ()
    rates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Clip:
    """The pictures and the sound of a time span, or the reasons why they are missing.

    Attributes:
        pictures: request for pictures -> its frames in order of time.
        sounds: sampling rate in Hz -> n mono samples in [-1, 1], [n].
        no_pictures: why there are no pictures; None if there are some, or none were requested.
        no_sound: why there is no sound; None if there is some, or none was requested.
        undecoded: request for pictures that gave no picture, while another request gave some -> why.
        notes: what was lost, in words. The key is the request for pictures, or the modality (`visual`, `audio`).
    """

    pictures: dict[PictureRequest, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    no_pictures: Missing | None = None
    no_sound: Missing | None = None
    undecoded: dict[PictureRequest, Missing] = field(default_factory=dict)
    notes: Notes = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that the pictures and the sound take, bytes."""
        pictures = sum(f.image.nbytes for frames in self.pictures.values() for f in frames)
        return pictures + sum(sound.nbytes for sound in self.sounds.values())


def read_spans(path: Path, spans: Sequence[Span], limits: Limits) -> list[Clip]:
    """Read pictures and sound of several time spans of one file, with the same result as for each span alone.

    - Of a span longer than `limits.duration` seconds, only the beginning is used.
    - A request asks for pictures at certain times. It gets the picture that is on screen at each of them.
    - Sound is mixed to mono at its native sampling rate, and resampled once for each requested rate.
    - From a damaged file, everything that can be decoded is returned.

    Returns:
        One clip for each span, in the order of the spans.
    """
    clips = dict(read_clips(path, spans, limits))
    return [clips[n] for n in range(len(spans))]


def read_clips(
    path: Path, spans: Sequence[Span], limits: Limits, tick: Tick = lambda: None
) -> Iterator[tuple[int, Clip]]:
    """Yield (index of the span, clip) for several time spans of one file, each as soon as it is completely read.

    The clips are the same as those of `read_spans`, but memory holds only the spans that are being read.

    Args:
        tick: function that is called often while the file is read, for example to show that the process is alive.
    """
    left = dict(enumerate(spans))
    try:
        for number, clip in _read(path, spans, limits, tick):
            del left[number]
            yield number, clip
    except Missing as missing:
        pictures = any(span.pictures for span in left.values())
        if missing.reason is Reason.TIMEOUT and pictures and any(span.rates for span in left.values()):
            yield from _read_sound_only(path, left, limits, missing, tick)
        else:
            for number, span in left.items():
                yield number, failed_clip(span, missing)


def _read_sound_only(
    path: Path, spans: Mapping[int, Span], limits: Limits, missing: Missing, tick: Tick
) -> Iterator[tuple[int, Clip]]:
    """Read only the sound of time spans, after reading pictures and sound together took too long.

    The sound gets a new time limit.

    Args:
        path: path of the file.
        spans: index -> span that is still to be read.
        limits: limits of time, pixels and memory.
        missing: the reason that the clips give for their missing pictures.
        tick: function that is called often while the file is read.

    Yields:
        Index of the span, and its clip.
    """
    numbers = list(spans)
    without = [replace(span, pictures=()) for span in spans.values()]
    for n, clip in read_clips(path, without, limits, tick):
        pictures = bool(spans[numbers[n]].pictures)
        yield numbers[n], replace(clip, no_pictures=missing if pictures else None)


def _read(path: Path, spans: Sequence[Span], limits: Limits, tick: Tick) -> Iterator[tuple[int, Clip]]:
    state = path.stat() if path.is_file() else None
    stamp = (state.st_size, state.st_mtime_ns, state.st_ino) if state else ()
    with open_media(path, limits, tick) as (open_container, deadline, error_log):
        recording = Recording(open_container, deadline, error_log, _probes_of_process().get((path, stamp)))
        _remember_probe(path, stamp, recording.facts)
        requests = [_span_request(n, s, recording.facts, limits) for n, s in enumerate(spans)]
        for found in _SpanReader(recording, requests, limits).run():
            with deadline.paused():
                yield found


@functools.cache
def _probes_of_process() -> dict[tuple[Path, tuple[int, ...]], Probe]:
    """Return this process's memory of file properties, so that a long recording is indexed only once.

    Returns:
        (path; size, date and inode of the file) -> properties and packet index. Only the last four files are kept.
    """
    return {}


def _remember_probe(path: Path, stamp: tuple[int, ...], facts: Probe) -> None:
    known = _probes_of_process()
    known[path, stamp] = known.pop((path, stamp), facts)
    for oldest in list(known)[:-4]:
        del known[oldest]


@dataclass(frozen=True)
class _SpanRequest:
    """What to read for one time span: the times of its pictures and its sound, found from the properties of the file.

    Attributes:
        number: index of the span in the list of requested spans.
        span: the requested span.
        chosen: request for pictures -> times at which its pictures begin, seconds from the start of the file.
        expected: request for pictures -> number of pictures that it gives if none is lost.
        sound_interval: start and end of the sound, in seconds of the file's own timestamps; None if no sound is
            requested or the file has none.
        no_pictures, no_sound: why the file cannot give pictures, or sound; None if it can or none is requested.
        end: time at which the last requested picture or sound lies, seconds from the start of the file; a span that
            ends earlier is returned earlier.
    """

    number: int
    span: Span
    chosen: Chosen = field(default_factory=dict)
    expected: Mapping[PictureRequest, int] = field(default_factory=dict)
    sound_interval: Window | None = None
    no_pictures: Missing | None = None
    no_sound: Missing | None = None
    end: float = -np.inf

    @property
    def filters(self) -> list[tuple[PictureFilter, Times]]:
        """For each request for pictures: its size and crop, and the times at which its pictures begin, seconds."""
        return [(picture_filter_of(kind, self.span.ref), times) for kind, times in self.chosen.items()]

    @property
    def last_picture(self) -> float:
        """Time at which the last requested picture begins, seconds."""
        return max((float(times[-1]) for _, times in self.filters), default=-np.inf)


def _span_request(number: int, span: Span, facts: Probe, limits: Limits) -> _SpanRequest:
    no_sound = why_no_sound(facts) if span.rates else None
    sound_interval = (
        sound_window(span.ref, facts, limits.duration) if span.rates and no_sound is None else None
    )
    chosen: Chosen = {}
    expected: dict[PictureRequest, int] = {}
    no_pictures = None
    try:
        chosen, expected = _choose(span, facts, limits)
    except Missing as missing:
        no_pictures = missing
    request = _SpanRequest(number, span, chosen, expected, sound_interval, no_pictures, no_sound)
    end = -np.inf if sound_interval is None else sound_interval[1] - facts.origin
    return replace(request, end=max(request.last_picture, end))


def _choose(span: Span, facts: Probe, limits: Limits) -> tuple[Chosen, dict[PictureRequest, int]]:
    """Choose which pictures of a file a time span needs.

    Returns:
        Two dictionaries by request for pictures: the times at which its pictures begin, in seconds from the start of
        the file; and the number of pictures that it gives if none is lost.

    Raises:
        Missing: the span has no pictures, or they would take too much memory.
    """
    if not span.pictures:
        return {}, {}
    fault = why_no_pictures(facts, limits.pixels)
    if fault is not None:
        raise fault
    times = facts.frame_times
    try:
        wanted = {k: instants(k, times, facts.key_times, span.ref, limits.duration) for k in span.pictures}
    except Missing as missing:
        if facts.ended_by:
            raise Missing(Reason.UNREADABLE, facts.ended_by) from missing
        raise
    chosen = {kind: shown_at(times, at) for kind, at in wanted.items()}
    megabytes = 3e-6 * facts.width * facts.height * sum(map(len, chosen.values()))
    if megabytes > limits.megabytes:
        raise Missing(Reason.TOO_LARGE, f"the pictures would take {megabytes:.0f} MB")
    return chosen, {k: expected_count(at, times, span.ref, limits.duration) for k, at in wanted.items()}


class _SpanReader:
    """Reads several time spans in one pass over a file, and frees pictures and sound that no later span needs."""

    def __init__(self, recording: Recording, requests: Sequence[_SpanRequest], limits: Limits) -> None:
        self._recording = recording
        self._left = sorted(requests, key=lambda request: (request.end, request.number))
        wanted: dict[PictureFilter, list[Times]] = {}
        for request in requests:
            for picture_filter, times in request.filters:
                wanted.setdefault(picture_filter, []).append(times)
        pictures = {
            picture_filter: np.unique(np.concatenate(times)) for picture_filter, times in wanted.items()
        }
        windows = [request.sound_interval for request in requests if request.sound_interval is not None]
        self._decoding = DecodingPass(recording, DecodeRequest(pictures, windows), limits)

    def run(self) -> Iterator[tuple[int, Clip]]:
        """Yield (index of the span, clip) for each span, as soon as it is completely read."""
        for _ in self._decoding.run():
            while self._left and self._is_done(self._left[0]):
                request = self._left.pop(0)
                yield request.number, self._clip(request)
                self._drop_used()

    def _is_done(self, request: _SpanRequest) -> bool:
        decoded_until = self._decoding.decoded_until
        is_sound_read = request.sound_interval is None or decoded_until["audio"] >= request.sound_interval[1]
        return is_sound_read and (not request.chosen or decoded_until["video"] > request.last_picture)

    def _drop_used(self) -> None:
        first = min((float(t[0]) for request in self._left for _, t in request.filters), default=np.inf)
        for images in self._decoding.images.values():
            for time in [time for time in images if time < first]:
                del images[time]
        start = min(
            (request.sound_interval[0] for request in self._left if request.sound_interval is not None),
            default=np.inf,
        )
        pieces = self._decoding.pieces
        while len(pieces) > 1 and pieces[0].end / pieces[0].rate < start:
            pieces.pop(0)

    def _clip(self, request: _SpanRequest) -> Clip:
        notes: Notes = {}
        no_pictures, no_sound = request.no_pictures, request.no_sound
        sounds: dict[int, FloatArray] = {}
        pictures, undecoded = self._pictures(request, notes)
        if undecoded and not pictures:
            no_pictures = next(iter(undecoded.values()))
        try:
            sounds = self._sounds(request, notes)
        except Missing as missing:
            no_sound = missing
        self._note_early_end(request.span.ref, {"visual": bool(pictures), "audio": bool(sounds)}, notes)
        return Clip(pictures, sounds, no_pictures, no_sound, undecoded if pictures else {}, notes)

    def _note_early_end(self, ref: MediaRef, got: Mapping[str, bool], notes: Notes) -> None:
        """Add to `notes` where the file ends, if it is shorter than its header states and the span goes beyond its end.

        Args:
            ref: the file and the time span.
            got: modality (`visual`, `audio`) -> whether anything of it was read; only then a note is added.
            notes: the notes of the clip, changed in place.
        """
        facts = self._recording.facts
        ends = {"visual": ("video", facts.pictures_end), "audio": ("audio", facts.sound_end)}
        for modality in (modality for modality, some in got.items() if some):
            kind, end = ends[modality]
            early = facts.ends_early(kind)
            if early and (ref.end is None or end is None or ref.end > end + TOLERATED_LOSS):
                notes[modality] = "; ".join(filter(None, (notes.get(modality), early)))

    def _pictures(
        self, request: _SpanRequest, notes: Notes
    ) -> tuple[dict[PictureRequest, tuple[Frame, ...]], dict[PictureRequest, Missing]]:
        """Return the decoded pictures of a time span, and add to `notes` where some are lost.

        Returns:
            Two dictionaries by request for pictures: its decoded pictures, if there are any; otherwise the reason why
            there are none.
        """
        every = {kind: self._frames(request, kind, times) for kind, times in request.chosen.items()}
        found = {kind: frames for kind, frames in every.items() if frames}
        for kind, frames in found.items():
            # Fewer: pictures were lost, or one picture stands still where others should follow.
            if len(frames) < request.expected[kind]:
                notes[kind] = f"frames {len(frames)} of {request.expected[kind]}"
        words = self._recording.error_log.text()
        reason = Reason.TOO_LARGE if "exceeds specified max pixel count" in words else Reason.UNREADABLE
        fault = Missing(reason, words or "no picture could be decoded")
        return found, {kind: fault for kind in every if kind not in found}

    def _frames(self, request: _SpanRequest, kind: PictureRequest, times: Times) -> tuple[Frame, ...]:
        images = self._decoding.images[picture_filter_of(kind, request.span.ref)]
        crop = None if kind.side else request.span.ref.crop
        return tuple(Frame(t, cropped(images[t], crop)) for t in map(float, times) if t in images)

    def _sounds(self, request: _SpanRequest, notes: Notes) -> dict[int, FloatArray]:
        if request.sound_interval is None:
            return {}
        pieces = sound_between(self._decoding.pieces, *request.sound_interval)
        self._check_sound(request.sound_interval, pieces, notes)
        runs, opposed = mix_down(pieces)
        if not all(np.isfinite(sound).all() for _, sound in runs):
            raise Missing(Reason.UNREADABLE, "some samples are not finite")
        if not any(sound.any() for _, sound in runs):
            raise Missing(Reason.SILENT, "every sample is 0")
        if opposed:
            notes["audio"] = "; ".join(filter(None, (notes.get("audio"), OPPOSED)))
        return {rate: resampled(runs, rate) for rate in request.span.rates}

    def _check_sound(self, wanted: Window, pieces: Sequence[SoundPiece], notes: Notes) -> None:
        """Add to `notes` how many seconds of sound were decoded, if the file's packets announce clearly more.

        Args:
            wanted: start and end of the requested sound, in seconds of the file's own timestamps.
            pieces: the decoded sound within these limits.
            notes: the notes of the clip, changed in place.

        Raises:
            Missing: the span has no sound at all.
        """
        facts, error_log = self._recording.facts, self._recording.error_log
        packets = facts.audio
        begins = np.maximum(packets.begins + facts.origin, wanted[0])
        ends = np.minimum(packets.begins + facts.origin + packets.lengths, wanted[1])
        announced = float(np.nansum(np.maximum(ends - begins, 0)[packets.shown]))
        got = seconds_of(pieces)
        if not got:
            beyond = packets.end is None or wanted[0] >= packets.end + facts.origin
            if announced > TOLERATED_LOSS or (facts.ended_by and beyond):
                raise Missing(
                    Reason.UNREADABLE, facts.ended_by or error_log.text() or "no sound could be decoded"
                )
            raise Missing(Reason.NO_AUDIO, "there is no sound during the utterance")
        if announced - got > max(TOLERATED_LOSS, 0.02 * announced):
            notes["audio"] = f"sound {got:.2f} of {announced:.2f} s"


def failed_clip(span: Span, missing: Missing) -> Clip:
    """Return a clip without pictures and sound that gives the same reason for each modality that the span requests."""
    return Clip(no_pictures=missing if span.pictures else None, no_sound=missing if span.rates else None)
