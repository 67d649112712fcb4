"""Decode only the requested pictures and sound of a file, in one pass.

A requested picture is given by the time at which it begins. To get it, decoding starts at the last packet before it
that can be decoded alone (a key packet). Packets that no requested picture or sound needs are not decoded. A seek jumps
over a long run of them if the file allows it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import av
import numpy as np

from ercache.params.schema import Limits
from extract.media.audio import SoundPiece, sound_piece
from extract.media.container import is_data_error
from extract.media.display import MAX_TICKS, ticks_of
from extract.media.packets import Packets
from extract.media.recording import SETTLING_SECONDS, PacketRanges, Recording
from extract.media.scaling import Scaler
from extract.media.types import Image, Times
from extract.media.video import PictureFilter

DECODER_DELAY: Final = (
    40  # a decoder has returned a picture at most this many packets after the picture's own packet
)
# Decoders that check before every packet whether to skip pictures that no other picture needs, and whose packets hold
# exactly one picture. Not dav1d, which checks only once, nor packed MPEG-4, whose packets may hold two pictures.
SKIPS_PER_PACKET: Final = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video"})
# AC-3 decoders fill omitted frequencies with noise. `cons_noisegen` makes this noise independent of where decoding
# begins, but flushing the decoder resets the option. AC-3 needs no flush: the decoder holds nothing back, and a packet
# depends only on the one before it.
NEVER_FLUSHED: Final = frozenset({"ac3", "eac3"})
DECODER_OPTIONS: Final = {"cons_noisegen": "1"}
NOMINAL_SECONDS: Final = 60.0  # seconds of media that `limits.seconds` allows for; longer work gets more time
_PACKED: Final = re.compile(rb"DivX\d+(b|Build)\d+p")
Window = tuple[float, float]  # on the file's own clock, seconds


@dataclass
class DecodeRequest:
    """What to decode from a file.

    Attributes:
        pictures: wanted size and crop -> display times of the wanted pictures, seconds from the start of the file,
            sorted.
        windows: start and end of each wanted stretch of sound, in seconds of the file's own clock, which need not
            begin at 0.
    """

    pictures: Mapping[PictureFilter, Times] = field(default_factory=dict)
    windows: Sequence[Window] = ()


def packet_numbers_of_pictures(packets: Packets, times: Times) -> list[int]:
    """Return, for each time, the index of the packet whose picture begins then.

    Args:
        packets: the video packets of the file.
        times: times at which pictures begin, seconds from the start of the file.
    """
    begins = np.where(packets.shown, packets.begins, np.nan)
    order = np.argsort(begins, kind="stable")  # NaN last
    ranks = np.searchsorted(begins[order], times - 1e-9)
    return [int(n) for n in order[np.minimum(ranks, len(order) - 1)]]


def ranges_of_pictures(packets: Packets, times: Times) -> PacketRanges:
    """Return which packets must be decoded to get some pictures: for each, a range from a key packet to just after it.

    Args:
        packets: the video packets of the file.
        times: times at which the pictures begin, seconds from the start of the file.
    """
    keys = np.flatnonzero(packets.keys & ~np.isnan(packets.begins))
    begins = packets.begins[keys]
    # A key serves pictures shown after it. If its own picture is complete only at the next key (intra refresh), it
    # serves pictures shown after that one. Where damage has changed the order of keys, use the earliest later key.
    whole = np.where(packets.refreshes[keys], np.append(begins, np.inf)[1:], begins)
    earliest = np.minimum.accumulate(whole[::-1])[::-1]
    ranges = []
    for time, number in zip(times, packet_numbers_of_pictures(packets, times), strict=True):
        rank = int(np.searchsorted(earliest, time - SETTLING_SECONDS, side="right")) - 1
        rank = min(rank, int(np.searchsorted(keys, number, side="right")) - 1)
        ranges.append((int(keys[rank]) if rank >= 0 else 0, number + DECODER_DELAY))
    return PacketRanges(ranges)


def ranges_of_sound(packets: Packets, windows: Sequence[Window], origin: float) -> PacketRanges:
    """Return which packets must be decoded to get some intervals of sound.

    If the start of any packet is unknown, or the starts are not in order, all packets are decoded.

    Args:
        packets: the audio packets of the file.
        windows: start and end of each interval, in seconds of the file's own timestamps.
        origin: the file's first timestamp, seconds.
    """
    begins = packets.begins
    if np.isnan(begins).any() or (np.diff(begins) < 0).any():
        return PacketRanges([(0, len(begins))] if windows else [])
    ends = begins + packets.lengths
    ranges = []
    for start, end in windows:
        first = int(np.searchsorted(ends, start - origin - SETTLING_SECONDS)) if np.isfinite(start) else 0
        last = (
            int(np.searchsorted(begins, end - origin + SETTLING_SECONDS)) if np.isfinite(end) else len(begins)
        )
        ranges.append((max(0, first - 1), last))
    return PacketRanges(ranges)


def is_packed(stream: Any) -> bool:
    """Return whether a stream is packed MPEG-4 (DivX or Xvid in avi).

    In such a stream, one packet may hold two pictures, and another packet none.
    """
    context = None if stream is None else stream.codec_context
    return context is not None and context.name == "mpeg4" and bool(_PACKED.search(context.extradata or b""))


class PackedPictureTimes:
    """Sets the times at which the pictures of a packed MPEG-4 stream (see `is_packed`) begin.

    The decoder sets wrong times, because it returns each picture only after the packet of the next picture.
    """

    def __init__(self) -> None:
        self._times: list[int] = []

    def set_times(self, packet: Any, frames: Sequence[Any]) -> None:
        """Give decoded frames the earliest packet times that no frame has got yet.

        Args:
            packet: the packet that was just decoded; None at the end of the stream.
            frames: the frames that the decoder returned for it; their times are changed in place.
        """
        if packet is not None and packet.pts is not None:
            self._times = sorted([*self._times, packet.pts])[-2:]
        for frame in frames:
            if self._times:
                frame.pts = self._times.pop(0)
        if packet is None:
            self._times = []


class DecodingPass:
    """Decodes the requested pictures and sound of a recording, in one pass.

    Args:
        recording: the open file.
        wanted: the pictures and the sound to decode.
        limits: limits for one clip; the time limit is extended in proportion to the amount to decode.

    Attributes:
        images: size and crop -> time at which a picture begins -> the decoded picture. The caller deletes the
            pictures that it has used.
        pieces: decoded sound in the order of the file; the caller deletes the pieces that it has used.
        decoded_until: kind (`video`, `audio`) -> time up to which everything has been decoded: for `video` in seconds
            from the start of the file, for `audio` in the file's own timestamps; infinite when decoding has ended.
    """

    def __init__(self, recording: Recording, wanted: DecodeRequest, limits: Limits) -> None:
        self.images: dict[PictureFilter, dict[float, Image]] = {key: {} for key in wanted.pictures}
        self.pieces: list[SoundPiece] = []
        self.decoded_until = {"video": -np.inf, "audio": -np.inf}
        self._recording, self._facts, self._limits = recording, recording.facts, limits
        self._scalers = {key: Scaler(key, self._facts.pixel) for key in wanted.pictures}
        self._filters_at: dict[float, list[PictureFilter]] = {}
        for key, times in wanted.pictures.items():
            for time in times.tolist():
                self._filters_at.setdefault(time, []).append(key)
        self._times = np.array(sorted(self._filters_at))
        self._ranges: dict[str, PacketRanges] = {}
        if len(self._times):
            self._ranges["video"] = ranges_of_pictures(self._facts.video, self._times)
        self._pictures = frozenset(packet_numbers_of_pictures(self._facts.video, self._times))
        if wanted.windows:
            self._ranges["audio"] = ranges_of_sound(self._facts.audio, wanted.windows, self._facts.origin)
        self._last_number = dict.fromkeys(self._ranges, -1)
        self._packed = PackedPictureTimes() if is_packed(recording.streams.get("video")) else None
        self._contexts: dict[str, Any] = {}
        self._ticks = {kind: stream.time_base for kind, stream in recording.streams.items()}
        self._slack = min(0.001, float(self._ticks.get("video", 1)) / 4)

    def run(self) -> Iterator[None]:
        """Decode the recording packet by packet.

        Yields:
            None after each packet, so that the caller can take new pictures and sound from `images` and `pieces`.
        """
        recording = self._recording
        recording.deadline.extend(
            self._limits.seconds * max(0.0, self._seconds_to_decode() / NOMINAL_SECONDS - 1)
        )
        self._contexts = {
            kind: self._context(stream) for kind, stream in recording.streams.items() if kind in self._ranges
        }
        for kind in ("video", "audio"):
            if kind not in self._ranges:
                self.decoded_until[kind] = np.inf
        for kind, number, packet in recording.packets(self._ranges, self._flush_all):
            recording.deadline.check()
            if number != self._last_number[kind] + 1 and self._last_number[kind] >= 0:  # packets were skipped
                self._flush(kind)
            self._last_number[kind] = number
            if kind == "video" and self._contexts[kind].name in SKIPS_PER_PACKET:
                self._contexts[kind].skip_frame = self._skip_mode(number)
            self._decode(kind, self._with_repaired_times(kind, number, packet))
            self._advance_decoded_until(kind, number)
            yield
        for kind in self._ranges:
            self._decode(kind, None)
            self.decoded_until[kind] = np.inf
        yield

    def _context(self, stream: Any) -> Any:
        """Open the decoder of a stream.

        Call this before setting which frames the decoder skips. Some decoders read this setting only when they open,
        and would then skip such frames in the whole file.
        """
        context = stream.codec_context
        if context.name in NEVER_FLUSHED:  # a seek of the container would flush the container's own decoder
            context = av.CodecContext.create(context.name, "r")
        context.thread_count = 1
        context.options = DECODER_OPTIONS | {"max_pixels": str(self._limits.pixels)}
        try:
            context.open(strict=False)
        except av.error.FFmpegError as error:
            if not is_data_error(error):
                raise
            self._recording.error_log.add(context.name, error)
        return context

    def _flush(self, kind: str) -> None:
        """Take the last frames out of a decoder and reset it, before decoding goes on at another place in the file."""
        context = self._contexts[kind]
        if context.name not in NEVER_FLUSHED:
            self._decode(kind, None)
            context.flush_buffers()

    def _flush_all(self) -> None:
        for kind, last in self._last_number.items():
            if last >= 0:
                self._flush(kind)
                self._last_number[kind] = -1

    def _seconds_to_decode(self) -> float:
        """Return how many seconds of video or of sound must be decoded: the larger of the two sums."""
        packets = {"video": self._facts.video, "audio": self._facts.audio}
        lengths = [0.0]
        for kind, ranges in self._ranges.items():
            begins = packets[kind].begins
            last = len(begins) - 1
            if last < 0:
                continue
            lengths.append(
                sum(float(np.nan_to_num(begins[min(b, last)] - begins[min(a, last)])) for a, b in ranges)
            )
        return max(lengths)

    def _with_repaired_times(self, kind: str, number: int, packet: Any) -> Any:
        """Return a packet with corrected timestamps, if the file's timestamps are damaged."""
        packets = self._facts.video if kind == "video" else self._facts.audio
        if self._facts.repaired and number < len(packets.shift):
            if packet.pts is not None:
                corrected = packet.pts + int(ticks_of(packets.shift[number], float(packet.time_base)))
                packet.pts = max(-MAX_TICKS, min(MAX_TICKS, corrected))
            packet.dts = None  # otherwise the decoder may prefer the damaged decoding time
        return packet

    def _skip_mode(self, number: int) -> str:
        """Return FFmpeg's name for the frames that the decoder may skip at a packet.

        `DEFAULT` skips none: the packet's picture is requested, or the file is damaged. `NONREF` skips the picture
        if no other picture needs it.
        """
        return "DEFAULT" if number in self._pictures or self._recording.error_log else "NONREF"

    def _decode(self, kind: str, packet: Any) -> None:
        """Decode a packet, and keep its sound or its requested pictures. Data that the decoder rejects are skipped.

        Args:
            kind: `video` or `audio`.
            packet: the packet; None takes out the frames that are still inside the decoder.
        """
        self._recording.error_log.trim()
        context = self._contexts[kind]
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError as error:
            if not is_data_error(error):
                raise
            if not isinstance(error, EOFError):
                self._recording.error_log.add(context.name, error)
            return
        if kind == "video" and self._packed is not None:
            self._packed.set_times(packet, frames)
        for frame in frames:
            if kind == "video":
                self._keep_pictures(frame)
            else:
                self.pieces.append(
                    sound_piece(frame, self._ticks["audio"], self.pieces[-1] if self.pieces else None)
                )

    def _keep_pictures(self, frame: Any) -> None:
        if frame.pts is None:
            return
        begin = frame.pts * float(self._ticks["video"]) - self._facts.origin
        rank = int(np.abs(self._times - begin).argmin())
        time = float(self._times[rank])
        self.decoded_until["video"] = max(self.decoded_until["video"], begin)
        if abs(time - begin) > self._slack or frame.width * frame.height > self._limits.pixels:
            return
        for key in self._filters_at[time]:
            if time not in self.images[key]:
                self.images[key][time] = self._scalers[key].picture(frame)

    def _advance_decoded_until(self, kind: str, number: int) -> None:
        """Update `decoded_until`: the time up to which all pictures, or all sound, of the file have been decoded."""
        if kind == "audio" and self.pieces:
            piece = self.pieces[-1]
            self.decoded_until["audio"] = piece.end / piece.rate
        elif kind == "video" and number >= DECODER_DELAY:
            begin = self._facts.video.begins[number - DECODER_DELAY]
            if not np.isnan(begin):
                self.decoded_until["video"] = max(self.decoded_until["video"], float(begin))
