"""Find the properties of a media file, and when each of its packets begins, without decoding it.

A packet is a compressed piece of picture or sound, usually one picture or a few hundredths of a second of sound.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.container import (
    FORMATS_WITHOUT_INDEX,
    Deadline,
    ErrorLog,
    is_discarded,
    is_known,
    open_media,
)
from extract.media.display import NO_TIME, apart, display_shift, ticks_of
from extract.media.packets import NO_PACKETS, Packets
from extract.media.rows import Row, read_rows
from extract.media.timeline import DURATION_MARGIN, Track, corrections
from extract.media.types import Times

# Containers whose index leads directly to a packet. In the containers without an index, a seek goes to a byte.
FORMATS_WITH_INDEX: Final = frozenset({"mov", "matroska", "avi", "wav", "w64"})
EARLY_END_SECONDS: Final = 1.0  # a file may end this much before the duration in its header
PLAUSIBLE_RATES: Final = range(1_000, 768_001)  # Hz; a header with another rate is damaged
PLAUSIBLE_PIXEL_SHAPES: Final = (
    Fraction(1, 4),
    Fraction(4),
)  # width / height; outside, the header is damaged


@dataclass(frozen=True)
class Probe:
    """Properties of a media file, found by reading its packets without decoding them.

    Attributes:
        width, height: size of the coded picture before rotation, pixels; 0 without video.
        pixel: width of a pixel divided by its height.
        audio_rate: sampling rate in Hz; None without audio.
        origin: the file's first timestamp, seconds; it is already subtracted from all other times.
        video, audio: the packets of the chosen streams.
        stated: duration that the header states, seconds in the file's own timestamps; None if there is none.
        repaired: whether the file's timestamps were damaged and have been corrected.
        seek: how to jump to a place in the file: `index` (to a time, by the file's own index), `bytes` (to a byte
            position), or empty if the file can only be read from the start.
        undecodable: kinds (`video`, `audio`) that the file contains but that cannot be decoded, because no decoder
            exists for them or their header is damaged.
        ended_by: FFmpeg's message if it could not read the file to the end; empty otherwise.
        apart: whether the streams are read one after the other, because damage of one would end the reading of both.
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
    apart: bool = False

    @cached_property
    def frame_times(self) -> Times:
        """Times at which the displayed pictures begin, seconds from the start of the file, sorted."""
        return _times(self.video, self.video.shown)

    @cached_property
    def key_times(self) -> Times:
        """Times at which the displayed keyframes (pictures that can be decoded alone) begin, sorted."""
        return _times(self.video, self.video.shown & self.video.keys & ~self.video.refreshes)

    @cached_property
    def pictures_end(self) -> float | None:
        """When the last picture ends, seconds; None without pictures.

        The last picture is taken to last as long as the median picture.
        """
        times = self.frame_times
        if not len(times):
            return None
        return float(times[-1]) + picture_period(times)

    def ends_early(self, kind: str) -> str:
        """Return a sentence that says at which second the file ends too early; empty if it does not.

        It ends too early if its header states a later end, or if FFmpeg cannot read the file to its end.

        Args:
            kind: `video` or `audio`. Usually the file ends where the longer of the two ends; if they are read one after
                the other (`apart`), only this kind counts.
        """
        found = {"video": self.pictures_end, "audio": self.sound_end}
        ends = [end for k, end in found.items() if end is not None and (k == kind or not self.apart)]
        if not ends:
            return ""
        if self.ended_by:
            return f"the file cannot be read beyond {max(ends):.2f} s: {self.ended_by}"
        stated = 0.0 if self.stated is None else self.stated - self.origin
        early = stated - max(ends) > max(EARLY_END_SECONDS, 0.01 * stated)
        return f"the file ends at {max(ends):.2f} of {stated:.2f} s" if early else ""

    @cached_property
    def sound_end(self) -> float | None:
        """When the sound ends, seconds; None without sound."""
        return self.audio.end


def picture_period(times: Times) -> float:
    """Return the median time that a picture stays on screen, seconds; 0.04 if there is only one picture.

    Args:
        times: times at which the pictures begin, seconds, sorted.
    """
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


def _times(packets: Packets, which: NDArray[np.bool_]) -> Times:
    begins = packets.begins[which & ~np.isnan(packets.begins)]
    return np.unique(begins)


def probe(path: Path, limits: Limits) -> Probe:
    """Read all packets of a media file without decoding them, and return its properties and the times of its packets.

    Raises:
        Missing: the file is not a readable media file, or reading it took too long.
    """
    with open_media(path, limits) as (open_container, deadline, error_log):
        return probe_container(open_container, open_container(), deadline, error_log)[0]


def probe_container(
    open_container: Callable[[], Any],
    container: Any,
    deadline: Deadline,
    error_log: ErrorLog,
    keep: bool = False,
) -> tuple[Probe, list[Any]]:
    """Read all packets of an open media file, and return the file's properties and the times of its packets.

    Args:
        open_container: function that opens the file anew.
        container: the open file.
        deadline: time limit for the file.
        error_log: FFmpeg's error messages.
        keep: also return FFmpeg's packets with their data, so that a small file is read only once.

    Returns:
        The properties; and FFmpeg's packets in the order of the file if `keep`, else an empty list.

    Raises:
        Missing: reading took too long (reason `TIMEOUT`).
    """
    moving, sounds = moving_pictures(container), list(container.streams.audio)
    video, audio = decodable(moving), decodable(sounds)
    streams = [s for s in (video, audio) if s is not None]
    rows, kept, apart = read_rows(open_container, container, streams, deadline, error_log, keep)
    packets, origin, repaired = _packets(rows, streams, container)
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
        undecodable=frozenset(
            kind for kind, (some, one) in kinds.items() if some and (one is None or is_discarded(one))
        ),
        ended_by=error_log.ended_by,
        apart=apart,
    )
    return facts, kept


def _packets(
    rows: Sequence[list[Row]], streams: Sequence[Any], container: Any
) -> tuple[list[Packets], float, bool]:
    """Correct the timestamps of a file's packets.

    Args:
        rows: for each stream, the properties of its packets.
        streams: the streams, in the same order.
        container: the open file.

    Returns:
        Three things: the packets of each stream with corrected times, the file's first timestamp in seconds, and
        whether any timestamp was corrected.
    """
    columns = [[np.array(column) for column in zip(*of_stream, strict=True)] for of_stream in rows]
    tracks = [
        _track(column, stream) if column else Track(np.empty(0, int), np.empty(0), np.empty(0))
        for column, stream in zip(columns, streams, strict=True)
    ]
    stated = _stated_duration(container)
    added = corrections(tracks, _restarts(container), stated)
    origin = (container.start_time or 0) / av.time_base
    last = np.inf if stated is None else origin + stated + DURATION_MARGIN
    shifts = [
        _display_shift(column, stream, shift, last, "mov" in container.format.name) if column else shift
        for column, stream, shift in zip(columns, streams, added, strict=True)
    ]
    repaired = any(bool(shift.any()) for shift in shifts)
    begins = [
        np.where(
            column[1] == NO_TIME,
            np.nan,
            (column[1] + ticks_of(shift, float(stream.time_base))) * float(stream.time_base),
        )
        if column
        else np.empty(0)
        for column, stream, shift in zip(columns, streams, shifts, strict=True)
    ]
    if repaired:  # FFmpeg's origin may come from a damaged timestamp
        origin = min((float(np.nanmin(b)) for b in begins if not np.isnan(b).all()), default=origin)
    if FORMATS_WITHOUT_INDEX.isdisjoint(container.format.name.split(",")):
        # Players cut what begins below 0. In the other containers the clock wraps around.
        origin = max(0.0, origin)
    found = []
    for b, shift, column, stream in zip(begins, shifts, columns, streams, strict=True):
        if not column:
            found.append(NO_PACKETS)
            continue
        _, pts, _, lengths, keys, refreshes, shown, places = column
        seconds = lengths * float(stream.time_base)
        found.append(Packets(b - origin, shift, seconds, keys, refreshes, shown, places, pts))
    return found, origin, repaired


def _display_shift(column: list[Any], stream: Any, shift: Times, last: float, is_mov: bool) -> Times:
    """Return how many seconds to add to the display time of each of a stream's n packets, [n].

    Args:
        column: one array [n] for each property of the packets.
        stream: the stream.
        shift: how many seconds are added to the decoding times, [n].
        last: time by which the whole file has been displayed, seconds.
        is_mov: whether the file is mov or mp4, where no two pictures have the same display time.
    """
    _, pts, dts, *_, shown, _ = column
    tick = float(stream.time_base)
    # In mov and mp4, each packet is a picture of its own, and has a time of its own.
    is_single = is_mov and stream.type == "video"
    single = shown & (pts != NO_TIME) if is_single else np.zeros(len(pts), bool)
    if _has_decoding_times(column, stream):
        shift = display_shift(pts, dts, shift, tick, last, single)
    return apart(pts, shift, tick, single) if stream.type == "video" else shift


def _track(column: list[Any], stream: Any) -> Track:
    place, pts, dts, lengths, *_ = column
    tick = float(stream.time_base)
    has_decoding_times = _has_decoding_times(column, stream)
    times = dts if has_decoding_times else pts
    seconds = np.where(times == NO_TIME, np.nan, times * tick)
    return Track(place, seconds, lengths * tick, reordered=not has_decoding_times and stream.type == "video")


def _has_decoding_times(column: list[Any], stream: Any) -> bool:
    """Return whether most packets of a stream state when they are decoded."""
    _, pts, dts, *_ = column
    return bool((dts != NO_TIME).mean() > 0.5 or (stream.type == "audio" and not (pts != NO_TIME).any()))


def _restarts(container: Any) -> bool:
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def _stated_duration(container: Any) -> float | None:
    """Return the duration that the header states, seconds; None if it states none.

    Only mov and matroska state a duration. For all other containers FFmpeg computes it from the timestamps.
    """
    names = container.format.name.split(",")
    stated = container.duration is not None and not {"mov", "matroska"}.isdisjoint(names)
    return container.duration / av.time_base if stated else None


def _seek(container: Any) -> str:
    names = frozenset(container.format.name.split(","))
    if not FORMATS_WITH_INDEX.isdisjoint(names):
        return "index"
    return "" if FORMATS_WITHOUT_INDEX.isdisjoint(names) else "bytes"


def _pixel(video: Any) -> Fraction:
    shape = video.sample_aspect_ratio if video is not None else None
    return shape if shape and PLAUSIBLE_PIXEL_SHAPES[0] <= shape <= PLAUSIBLE_PIXEL_SHAPES[1] else Fraction(1)


def moving_pictures(container: Any) -> list[Any]:
    """Return the video streams of a file, without cover art (a still picture in a music file)."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & cover]


def decodable(streams: Sequence[Any]) -> Any:
    """Return the first stream that has a decoder, or None if there is none.

    A stream of which FFmpeg has not seen any data is returned only if there is no other.
    """
    some = [s for s in streams if s.codec_context is not None]
    return next((s for s in some if is_known(s)), some[0] if some else None)


def why_no_sound(facts: Probe) -> Missing | None:
    """Return why a file has no sound that can be decoded; None if it has."""
    if "audio" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "no decoder for its sound, or its header is damaged")
    if facts.audio_rate is None:
        return Missing(Reason.NO_AUDIO, "no audio stream in the file")
    if facts.audio_rate not in PLAUSIBLE_RATES:
        return Missing(Reason.UNREADABLE, f"the header states a sampling rate of {facts.audio_rate} Hz")
    return None


def why_no_pictures(facts: Probe, most_pixels: int) -> Missing | None:
    """Return why a file has no pictures that can be decoded; None if it has.

    Args:
        facts: properties of the file.
        most_pixels: largest allowed size of a picture, width x height.
    """
    if facts.width * facts.height > most_pixels:
        return Missing(Reason.TOO_LARGE, f"{facts.width} x {facts.height} pixels")
    if "video" in facts.undecodable:
        return Missing(Reason.UNREADABLE, "no decoder for its pictures, or their header is damaged")
    if not len(facts.frame_times):
        if facts.ended_by:
            return Missing(Reason.UNREADABLE, facts.ended_by)
        return Missing(Reason.NO_VIDEO, "no pictures in the file")
    return None
