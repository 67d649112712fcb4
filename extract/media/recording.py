"""An open media file whose packets can be read in any order.

The packets of a small file stay in memory. A large file is read again; a seek jumps over long sections that are not
requested. A seek may end at another place than intended, so the first packets after it are looked up in the list of all
packets. If the seek went too far, the file is read from the start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import av
import numpy as np

from extract.media.container import Deadline, ErrorLog, demuxed
from extract.media.packets import Packets
from extract.media.probe import Probe, decodable, moving_pictures, probe_container
from extract.media.rows import packet_identity, read_alone

MAX_KEPT_BYTES: Final = 64 << 20  # packets of smaller files stay in memory between indexing and decoding
SETTLING_SECONDS: Final = 1.0  # time decoded before a requested part, so that the decoder has settled
MIN_SEEK_SECONDS: Final = 20.0  # shorter gaps are read, longer ones are jumped over


class PacketRanges:
    """The indices of those packets of a stream that must be decoded, stored as ranges.

    Args:
        ranges: first and last index of each range, both included, in any order; ranges may overlap.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(last, self._lasts[-1])
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, number: int) -> bool:
        rank = bisect_right(self._firsts, number) - 1
        return rank >= 0 and number <= self._lasts[rank]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def next_from(self, number: int) -> int | None:
        """Return the index of the first packet to decode that is not before packet `number`; None if there is none."""
        rank = bisect_left(self._lasts, number)
        return None if rank == len(self._lasts) else max(number, self._firsts[rank])


class Recording:
    """An open media file: its properties, and its packets.

    Args:
        open_container: function that opens the file anew.
        deadline: time limit for the file.
        error_log: FFmpeg's error messages.
        known_facts: properties of the file, if they have been found before.

    Attributes:
        facts: properties of the file.
    """

    def __init__(
        self,
        open_container: Callable[[], Any],
        deadline: Deadline,
        error_log: ErrorLog,
        known_facts: Probe | None = None,
    ) -> None:
        self._open_container, self.deadline, self.error_log = open_container, deadline, error_log
        self.container = open_container()
        self._kept: list[Any] | None = None
        if known_facts is None:
            small = self.container.size <= MAX_KEPT_BYTES
            known_facts, kept = probe_container(
                open_container, self.container, deadline, error_log, keep=small
            )
            if small:
                self._kept = kept
            else:
                self.rewind()
        self.facts = known_facts

    def rewind(self) -> None:
        """Go back to the beginning of the file by opening it again. (A seek to the start may end at another place.)"""
        self.container = self._open_container()

    @property
    def streams(self) -> dict[str, Any]:
        """For each kind (`video`, `audio`), the stream that is read: the first one that can be decoded."""
        found = {
            "video": decodable(moving_pictures(self.container)),
            "audio": decodable(list(self.container.streams.audio)),
        }
        return {kind: stream for kind, stream in found.items() if stream is not None}

    def packets(
        self, ranges: Mapping[str, PacketRanges], flush_decoders: Callable[[], None]
    ) -> Iterator[tuple[str, int, Any]]:
        """Yield (kind, index in its stream, packet) for all packets in the given ranges, in the order of the file.

        Args:
            ranges: kind (`video`, `audio`) -> ranges of packet indices.
            flush_decoders: function that takes the last frames out of the decoders; called before each seek.
        """
        if self._kept is not None:
            yield from _numbered(self._kept, {k: s for k, s in self.streams.items() if k in ranges}, ranges)
        elif self.facts.apart:
            for kind in sorted(ranges):  # sound first: it takes less memory until the other is read
                self.rewind()
                yield from _LargeFileReader(self, {kind: ranges[kind]}, flush_decoders).run()
        else:
            yield from _LargeFileReader(self, ranges, flush_decoders).run()

    def demuxed(self, streams: Sequence[Any]) -> Iterator[Any]:
        """Yield the packets of the given streams, from the current position in the file to its end."""
        if self.facts.apart:
            read_alone(self.container, [stream.index for stream in streams])
        return demuxed(self.container, streams, self.deadline, self.error_log)


def _numbered(
    packets: Sequence[Any], streams: Mapping[str, Any], ranges: Mapping[str, PacketRanges]
) -> Iterator[tuple[str, int, Any]]:
    kinds = {stream.index: kind for kind, stream in streams.items()}
    numbers = dict.fromkeys(streams, 0)
    for packet in packets:
        kind = kinds.get(packet.stream_index)
        if kind is not None:
            number = numbers[kind]
            numbers[kind] += 1
            if number in ranges[kind]:
                yield kind, number, packet


class _StreamPosition:
    """How far the packets of one stream have been read, and which packet is wanted next.

    Attributes:
        next: index of the next packet; None after a seek until a packet is identified.
        wanted: index of the next requested packet; None when no more packet is requested.
    """

    def __init__(self, packets: Packets, ranges: PacketRanges) -> None:
        self._packets, self._ranges = packets, ranges
        self.next: int | None = 0
        self.wanted = self._wanted_from(0)

    def number(self, packet: Any, has_sought: bool) -> int | None:
        """Return the index in the stream of a packet that was just read; None if it cannot be identified.

        Args:
            packet: the packet.
            has_sought: whether a seek was made. Then counting is not enough: the packet's position in the file and its
                timestamp are compared with those of the known packets.
        """
        number = self.next
        if has_sought and (number is None or self._identity_of(number) != packet_identity(packet)):
            number = self._packets.find(*packet_identity(packet))
        self.next = None if number is None else number + 1
        return number

    def mark_read(self, number: int) -> None:
        """Set `wanted` to the next requested packet, because the packet with this index has been read."""
        self.wanted = self._wanted_from(number + 1)

    def begins(self, number: int) -> float:
        """Return when a packet begins, seconds from the start of the file.

        If the index lies past the end, the result is when the last packet begins.
        """
        return float(self._packets.begins[min(number, len(self._packets.begins) - 1)])

    def byte_before(self, time: float) -> int | None:
        """Return the byte position of the last packet that begins before a time; None if there is none."""
        before = (self._packets.begins <= time) & (self._packets.places >= 0)
        return int(self._packets.places[before][-1]) if before.any() else None

    def stamp_before(self, time: float) -> int:
        """Return the file's own timestamp of the last packet that begins before a time, in ticks of the stream.

        If no packet begins before the time, the first packet is taken.
        """
        before = np.flatnonzero(self._packets.begins <= time)
        return int(self._packets.stamps[before[-1] if len(before) else 0])

    def _wanted_from(self, number: int) -> int | None:
        wanted = self._ranges.next_from(number)
        return wanted if wanted is not None and wanted < len(self._packets.begins) else None

    def _identity_of(self, number: int) -> tuple[int, int] | None:
        if number >= len(self._packets.begins):
            return None
        return int(self._packets.places[number]), int(self._packets.stamps[number])


class _LargeFileReader:
    """Reads the requested packets of a large file, and jumps over long sections of which no packet is requested."""

    def __init__(
        self, recording: Recording, ranges: Mapping[str, PacketRanges], flush_decoders: Callable[[], None]
    ) -> None:
        self._recording, self._flush_decoders = recording, flush_decoders
        facts = recording.facts
        self._positions = {
            kind: _StreamPosition(facts.video if kind == "video" else facts.audio, some)
            for kind, some in ranges.items()
        }
        self._can_seek, self._has_sought = bool(facts.seek), False
        self._did_seek, self._target = False, -np.inf

    def run(self) -> Iterator[tuple[str, int, Any]]:
        """Yield (kind, index in its stream, packet) for all requested packets; the kind is `video` or `audio`."""
        self._seek_ahead()
        while True:
            yield from self._read_on()
            if not self._is_any_wanted():
                return
            if self._did_seek:
                continue
            if not self._has_sought:
                return
            self._can_seek = self._has_sought = False
            self._recording.rewind()
            for position in self._positions.values():
                position.next = 0

    def _read_on(self) -> Iterator[tuple[str, int, Any]]:
        """Yield requested packets from the current position on.

        Stops when all packets are read, when a seek would save time, or when a requested packet was missed.
        """
        self._did_seek = False
        streams = {kind: self._recording.streams[kind] for kind in self._positions}
        kinds = {stream.index: kind for kind, stream in streams.items()}
        for packet in self._recording.demuxed(list(streams.values())):
            kind = kinds[packet.stream_index]
            position = self._positions[kind]
            number = position.number(packet, self._has_sought)
            if number is None or position.wanted is None or number < position.wanted:
                self._did_seek = self._seek_ahead()
                if self._did_seek or not self._is_any_wanted():
                    return
            elif number == position.wanted:
                position.mark_read(number)
                yield kind, number, packet
            else:  # a seek led too far: a requested packet was passed
                return

    def _is_any_wanted(self) -> bool:
        return any(position.wanted is not None for position in self._positions.values())

    def _seek_ahead(self) -> bool:
        """Seek to the next requested packet if it is more than 20 s away; return whether a seek was made."""
        wanted = [position for position in self._positions.values() if position.wanted is not None]
        here = [position.begins(position.next) for position in wanted if position.next is not None]
        if not self._can_seek or not here or len(here) < len(wanted):
            return False
        target = min(position.begins(position.wanted) for position in wanted if position.wanted is not None)
        # NaN: the position is unknown. Do not seek twice to the same target if the first seek led no nearer.
        if not target - max(here) > MIN_SEEK_SECONDS or target <= self._target:
            return False
        self._target = target
        self._flush_decoders()
        try:
            self._seek(target)
        except av.error.FFmpegError:
            self._can_seek = False
            self._has_sought = True  # the position is unknown
        else:
            self._has_sought = True
        for position in self._positions.values():
            position.next = None
        return True

    def _seek(self, target: float) -> None:
        facts, container = self._recording.facts, self._recording.container
        streams = self._recording.streams
        if facts.seek == "index" and "video" not in streams:
            # For pure audio, FFmpeg cuts packets from the seek position: seek to a packet's own time to get equal ones.
            stamp = self._positions["audio"].stamp_before(target - SETTLING_SECONDS)
            container.seek(stamp, stream=streams["audio"])
        elif facts.seek == "index":
            container.seek(int((target - SETTLING_SECONDS + facts.origin) * av.time_base))
        else:
            before = [
                position.byte_before(target - 2 * SETTLING_SECONDS) for position in self._positions.values()
            ]
            first = min((at for at in before if at is not None), default=0)
            container.seek(first, unsupported_byte_offset=True)
