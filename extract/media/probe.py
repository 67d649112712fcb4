"""The facts of a media file and the index of its packets: all that comes before decoding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.container import NO_CONTENTS, Clock, Complaints, demuxed, is_known, opened
from extract.media.h264 import is_refresh
from extract.media.timeline import BACK, BEYOND, LEAP, Track, corrections
from extract.media.types import Times

# Containers with an index that leads to the packet; in those without a table of contents, bytes are gone to.
INDEXED: Final = frozenset({"mov", "matroska", "avi", "wav", "w64"})
# Bytes of a packet that says no more than that nothing changes, even where it is called a key.
EMPTY: Final = 8
REORDERED: Final = 16  # packets by which pictures may be out of order
EARLY: Final = 1.0  # seconds by which a file may end before what its header states
RATES: Final = range(1_000, 768_001)  # Hz; a header that says otherwise is damaged
SHAPES: Final = (Fraction(1, 4), Fraction(4))  # of pixels; what lies outside is damaged


@dataclass(frozen=True)
class Packets:
    """The packets of one stream in the order of the file; those without content are not counted.

    Attributes:
        begins: seconds from the start of the file at which what each packet holds begins, sane; NaN where a packet
            does not say, [n].
        shift: what was added to the file's own times, seconds, [n].
        lengths: seconds, 0 where a packet does not say, [n].
        keys: whether decoding can begin with it, [n].
        refreshes: keys with which a picture only begins to come together: it is whole by the next key, [n].
        shown: whether what it holds is shown (an edit list may hide it), [n].
        places: byte positions, -1 where unknown, [n].
        stamps: the file's own times, in ticks of the stream, [n].
    """

    begins: Times
    shift: Times
    lengths: Times
    keys: NDArray[np.bool_]
    refreshes: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    places: NDArray[np.int64]
    stamps: NDArray[np.int64]

    @property
    def end(self) -> float | None:
        """Where the last packet ends, seconds; None without packets that say when they are."""
        ends = self.begins + self.lengths
        return float(np.nanmax(ends)) if len(ends) and not np.isnan(ends).all() else None


_NO_TIME: Final = -(1 << 62)  # of a stamp
NO_PACKETS: Final = Packets(
    np.empty(0),
    np.empty(0),
    np.empty(0),
    np.empty(0, bool),
    np.empty(0, bool),
    np.empty(0, bool),
    np.empty(0, int),
    np.empty(0, int),
)


@dataclass(frozen=True)
class Probe:
    """Facts of a media file, found by demuxing only.

    Attributes:
        width, height: of the coded picture, before rotation; 0 without video.
        pixel: width of a pixel over its height.
        audio_rate: Hz; None without audio.
        origin: the file's first timestamp, seconds; already taken off all other times.
        video, audio: the packets of the streams looked at.
        stated: the duration that the header states, seconds on the file's own clock; None where it states none.
        repaired: the file's clocks were not sane and were set on.
        seek: how the file can be sought: by its `index`, by `bytes`, or not at all.
        undecodable: kinds (`video`, `audio`) of which there are streams, but no decoder for any.
        ended_by: why the packets end before the end of the file, in FFmpeg's words; empty when they do not.
    """

    width: int
    height: int
    pixel: Fraction
    audio_rate: int | None
    origin: float = 0.0
    video: Packets = field(default=NO_PACKETS, repr=False)
    audio: Packets = field(default=NO_PACKETS, repr=False)
    stated: float | None = None
    repaired: bool = False
    seek: str = ""
    undecodable: frozenset[str] = frozenset()
    ended_by: str = ""

    @property
    def frame_times(self) -> Times:
        """Seconds from the start of the file at which each picture begins, sorted."""
        return _times(self.video, self.video.shown)

    @property
    def key_times(self) -> Times:
        """The same of the pictures that are coded alone."""
        return _times(self.video, self.video.shown & self.video.keys & ~self.video.refreshes)

    @property
    def pictures_end(self) -> float | None:
        """When the last picture ends: it is shown as long as pictures are on average; None without pictures."""
        times = self.frame_times
        if not len(times):
            return None
        return float(times[-1]) + period_of(times)

    @property
    def ends_early(self) -> str:
        """Where the file ends, if it cannot be read beyond or its header states a later end; else empty."""
        ends = [end for end in (self.pictures_end, self.sound_end) if end is not None]
        if not ends:
            return ""
        if self.ended_by:
            return f"the file cannot be read beyond {max(ends):.2f} s: {self.ended_by}"
        stated = 0.0 if self.stated is None else self.stated - self.origin
        early = stated - max(ends) > max(EARLY, 0.01 * stated)
        return f"the file ends at {max(ends):.2f} of {stated:.2f} s" if early else ""

    @property
    def sound_end(self) -> float | None:
        """When the sound ends, seconds; None without sound."""
        return self.audio.end


def period_of(times: Times) -> float:
    """For how long a picture is shown, usually, seconds."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


def _times(packets: Packets, which: NDArray[np.bool_]) -> Times:
    begins = packets.begins[which & ~np.isnan(packets.begins)]
    return np.unique(begins)


def probe(path: Path, limits: Limits) -> Probe:
    """Read the facts of a whole file.

    Raises:
        Missing: the file is no readable medium, or reading it ran past its time.
    """
    with opened(path, limits) as (again, clock, complaints):
        return facts_of(again(), clock, complaints)[0]


def facts_of(
    container: Any, clock: Clock, complaints: Complaints, keep: bool = False
) -> tuple[Probe, list[Any]]:
    """Facts of an open file, and its packets if they are to be kept.

    Raises:
        Missing: TIMEOUT.
    """
    moving, sounds = moving_pictures(container), list(container.streams.audio)
    video, audio = decodable(moving), decodable(sounds)
    streams = [s for s in (video, audio) if s is not None]
    found: dict[int, list[tuple[Any, ...]]] = {s.index: [] for s in streams}
    kept: list[Any] = []
    for place, packet in enumerate(demuxed(container, streams, clock, complaints)) if streams else ():
        found[packet.stream_index].append(_row(place, packet))
        if keep:
            kept.append(packet)
    packets, origin, repaired = _packets([found[s.index] for s in streams], streams, container)
    by_kind = dict(zip([s.type for s in streams], packets, strict=True))
    kinds = {"video": (moving, video), "audio": (sounds, audio)}
    facts = Probe(
        width=video.codec_context.width if video is not None else 0,
        height=video.codec_context.height if video is not None else 0,
        pixel=_pixel(video),
        audio_rate=audio.codec_context.rate if audio is not None else None,
        origin=origin,
        video=by_kind.get("video", NO_PACKETS),
        audio=by_kind.get("audio", NO_PACKETS),
        stated=_stated_duration(container),
        repaired=repaired,
        seek="" if repaired else _seek(container),
        undecodable=frozenset(kind for kind, (some, one) in kinds.items() if some and one is None),
        ended_by=complaints.ended_by,
    )
    return facts, kept


def stamp_of(packet: Any) -> tuple[int, int]:
    """By what a packet is known again: its place in the file, and its own time of showing."""
    return (-1 if packet.pos is None else packet.pos, _NO_TIME if packet.pts is None else packet.pts)


def _row(place: int, packet: Any) -> tuple[Any, ...]:
    pos, pts = stamp_of(packet)
    dts = _NO_TIME if packet.dts is None else packet.dts
    key = packet.is_keyframe and packet.size > EMPTY
    refresh = key and _is_refresh(packet)
    return place, pts, dts, packet.duration or 0, key, refresh, not packet.is_discard, pos


def _is_refresh(packet: Any) -> bool:
    context = packet.stream.codec_context
    return bool(context.name == "h264" and is_refresh(bytes(packet), context.extradata or b""))


def _packets(
    rows: Sequence[list[tuple[Any, ...]]], streams: Sequence[Any], container: Any
) -> tuple[list[Packets], float, bool]:
    """The packets of each stream, the origin of the file's clock, and whether it was set on."""
    columns = [[np.array(column) for column in zip(*of_stream, strict=True)] for of_stream in rows]
    tracks = [
        _track(column, stream) if column else Track(np.empty(0, int), np.empty(0), np.empty(0))
        for column, stream in zip(columns, streams, strict=True)
    ]
    stated = _stated_duration(container)
    added = corrections(tracks, _restarts(container), stated)
    origin = (container.start_time or 0) / av.time_base
    last = np.inf if stated is None else origin + stated + BEYOND
    shifts = [
        _in_ticks(column, stream, shift, last) if column else shift
        for column, stream, shift in zip(columns, streams, added, strict=True)
    ]
    repaired = any(bool(shift.any()) for shift in shifts)
    begins = [
        np.where(
            column[1] == _NO_TIME, np.nan, (column[1] + ticks_of(shift, stream)) * float(stream.time_base)
        )
        if column
        else np.empty(0)
        for column, stream, shift in zip(columns, streams, shifts, strict=True)
    ]
    if repaired:  # FFmpeg's own may be the damaged one
        origin = min((float(np.nanmin(b)) for b in begins if not np.isnan(b).all()), default=origin)
    if NO_CONTENTS.isdisjoint(container.format.name.split(",")):
        origin = max(
            0.0, origin
        )  # what begins below 0 is cut by whoever plays it; in the others the clock wraps
    found = []
    for b, shift, column, stream in zip(begins, shifts, columns, streams, strict=True):
        if not column:
            found.append(NO_PACKETS)
            continue
        _, pts, _, lengths, keys, refreshes, shown, places = column
        seconds = lengths * float(stream.time_base)
        found.append(Packets(b - origin, shift, seconds, keys, refreshes, shown, places, pts))
    return found, origin, repaired


def ticks_of(seconds: Any, stream: Any) -> Any:
    """Seconds in whole ticks of a stream, [n]."""
    return np.rint(seconds / float(stream.time_base)).astype(np.int64)


def _in_ticks(column: list[Any], stream: Any, shift: Times, last: float) -> Times:
    """What is to be added to the times of showing, in whole ticks, when so much is added to `_track`'s times.

    A packet of which the two times lie apart, although decoding does not come near to when it is shown, has one of
    them wrong, and gets the usual difference.

    Args:
        last: by when all of the file is shown.
    """
    _, pts, dts, *_ = column
    tick = float(stream.time_base)
    steps = ticks_of(shift, stream)
    both = (pts != _NO_TIME) & (dts != _NO_TIME)
    if both.any() and _decoding(column, stream):
        apart = np.where(both, (pts - dts) * tick, 0.0)
        usual = float(np.median(apart[both]))
        decoded = np.where(both, dts * tick + shift, np.nan)
        # Pictures that stand still make a gap between the two as well, which closes once later ones are decoded.
        later = np.append(decoded, np.full(REORDERED, np.nan))[REORDERED:]
        later = np.where(np.isnan(later), decoded + 5 * LEAP, later)
        shown = pts * tick + shift
        ahead = (apart > usual + LEAP) & (shown > later + LEAP) | (apart > usual + BACK) & (shown > last)
        wrong = both & (ahead | (apart < usual - LEAP) | (apart < -LEAP))
        steps = steps + np.where(wrong, ticks_of(usual, stream) - (pts - dts), 0)
    return np.asarray(steps * tick, np.float64)


def _track(column: list[Any], stream: Any) -> Track:
    place, pts, dts, lengths, *_ = column
    tick = float(stream.time_base)
    decoding = _decoding(column, stream)
    times = dts if decoding else pts
    seconds = np.where(times == _NO_TIME, np.nan, times * tick)
    return Track(place, seconds, lengths * tick, reordered=not decoding and stream.type == "video")


def _decoding(column: list[Any], stream: Any) -> bool:
    """Whether a stream says when its packets are decoded."""
    _, pts, dts, *_ = column
    return bool((dts != _NO_TIME).mean() > 0.5 or (stream.type == "audio" and not (pts != _NO_TIME).any()))


def _restarts(container: Any) -> bool:
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def _stated_duration(container: Any) -> float | None:
    """What the header says; other containers have none, and FFmpeg takes it from the times themselves."""
    names = container.format.name.split(",")
    stated = container.duration is not None and not {"mov", "matroska"}.isdisjoint(names)
    return container.duration / av.time_base if stated else None


def _seek(container: Any) -> str:
    names = frozenset(container.format.name.split(","))
    if not INDEXED.isdisjoint(names):
        return "index"
    return "" if NO_CONTENTS.isdisjoint(names) else "bytes"


def _pixel(video: Any) -> Fraction:
    shape = video.sample_aspect_ratio if video is not None else None
    return shape if shape and SHAPES[0] <= shape <= SHAPES[1] else Fraction(1)


def moving_pictures(container: Any) -> list[Any]:
    """The streams of moving pictures; cover art is none."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & cover]


def decodable(streams: Sequence[Any]) -> Any:
    """The first stream that there is a decoder for, or None; one of which nothing was seen yet comes last."""
    some = [s for s in streams if s.codec_context is not None]
    return next((s for s in some if is_known(s)), some[0] if some else None)


def why_no_sound(facts: Probe) -> Missing | None:
    """Why a file has no sound that can be decoded, or None when it has."""
    if "audio" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "there is no decoder for its sound")
    if facts.audio_rate is None:
        return Missing(Reason.NO_AUDIO, "no audio stream in the file")
    if facts.audio_rate not in RATES:
        return Missing(Reason.UNREADABLE, f"the header says {facts.audio_rate} Hz")
    return None


def why_no_pictures(facts: Probe, most_pixels: int) -> Missing | None:
    """Why a file has no pictures that can be decoded, or None when it has."""
    if facts.width * facts.height > most_pixels:
        return Missing(Reason.TOO_LARGE, f"{facts.width} x {facts.height} pixels")
    if "video" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "there is no decoder for its pictures")
    if not len(facts.frame_times):
        if facts.ended_by:
            return Missing(Reason.UNREADABLE, facts.ended_by)
        return Missing(Reason.NO_VIDEO, "no pictures in the file")
    return None
