"""An open file of which packets can be read from any place.

A small file's packets stay in memory; a large one is read again, and sought over where nothing is wanted. Where a seek
leads is known by the packets found there, and one that led astray is made good by reading from the start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import av
import numpy as np

from extract.media.container import Clock, Complaints, demuxed
from extract.media.probe import Packets, Probe, decodable, facts_of, moving_pictures, stamp_of

KEPT: Final = 64 << 20  # bytes of a file whose packets stay in memory between index and decoding
LEAD: Final = 1.0  # seconds decoded before what is wanted, so that decoders have settled
SEEK: Final = 20.0  # seconds that are sought over rather than read


class Runs:
    """Numbers of the packets of a stream that are to be decoded, as runs that lie apart."""

    def __init__(self, runs: Sequence[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(runs):
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
        """The first number at or after another that is to be decoded."""
        rank = bisect_left(self._lasts, number)
        return None if rank == len(self._lasts) else max(number, self._firsts[rank])


class Recording:
    """An open file with its facts.

    Args:
        again: opens the file.
        known: its facts, if they are known from before.

    Attributes:
        facts: found when it was opened, or known from before.
    """

    def __init__(
        self,
        again: Callable[[], Any],
        clock: Clock,
        complaints: Complaints,
        known: Probe | None = None,
    ) -> None:
        self._again, self.clock, self.complaints = again, clock, complaints
        self.container = again()
        self._kept: list[Any] | None = None
        if known is None:
            small = self.container.size <= KEPT
            known, kept = facts_of(self.container, clock, complaints, keep=small)
            if small:
                self._kept = kept
            else:
                self.rewind()
        self.facts = known

    def rewind(self) -> None:
        """Stand at the beginning again, with a container of its own: a seek might lead to another place."""
        self.container = self._again()

    @property
    def streams(self) -> dict[str, Any]:
        """The streams looked at, by kind."""
        found = {
            "video": decodable(moving_pictures(self.container)),
            "audio": decodable(list(self.container.streams.audio)),
        }
        return {kind: stream for kind, stream in found.items() if stream is not None}

    def packets(self, runs: Mapping[str, Runs], settle: Callable[[], None]) -> Iterator[tuple[str, int, Any]]:
        """Kind, number and packet of those packets that stand in some runs, in the order of the file.

        Args:
            runs: `video`, `audio` -> numbers.
            settle: called before a seek, which clears decoders.
        """
        if self._kept is not None:
            yield from _numbered(self._kept, {k: s for k, s in self.streams.items() if k in runs}, runs)
        else:
            yield from _Reader(self, runs, settle).run()

    def demuxed(self, streams: Sequence[Any]) -> Iterator[Any]:
        """Packets from where the file stands."""
        return demuxed(self.container, streams, self.clock, self.complaints)


def _numbered(
    packets: Sequence[Any], streams: Mapping[str, Any], runs: Mapping[str, Runs]
) -> Iterator[tuple[str, int, Any]]:
    kinds = {stream.index: kind for kind, stream in streams.items()}
    numbers = dict.fromkeys(streams, 0)
    for packet in packets:
        kind = kinds.get(packet.stream_index)
        if kind is not None:
            number = numbers[kind]
            numbers[kind] += 1
            if number in runs[kind]:
                yield kind, number, packet


class _Place:
    """Where in the packets of one stream a reader stands.

    Attributes:
        next: number of the packet that comes next; None until one is recognised after a seek.
        due: number of the packet that is wanted next; None when no more is.
    """

    def __init__(self, packets: Packets, runs: Runs) -> None:
        self._packets, self._runs = packets, runs
        self.next: int | None = 0
        self.due = self._due_from(0)
        self._known: dict[tuple[int, int], int | None] = {}

    def number(self, packet: Any, sought: bool) -> int | None:
        """Number of a packet; None where it is not known."""
        number = self.next
        if sought and (number is None or self._marks(number) != stamp_of(packet)):
            number = self._recognised(packet)
        self.next = None if number is None else number + 1
        return number

    def passed(self, number: int) -> None:
        """A packet that was wanted is read."""
        self.due = self._due_from(number + 1)

    def begins(self, number: int) -> float:
        """When a packet begins, seconds from the start of the file; the last one for those beyond it."""
        return float(self._packets.begins[min(number, len(self._packets.begins) - 1)])

    def byte_before(self, time: float) -> int | None:
        """Where the last packet lies that begins before some time."""
        before = (self._packets.begins <= time) & (self._packets.places >= 0)
        return int(self._packets.places[before][-1]) if before.any() else None

    def stamp_before(self, time: float) -> int:
        """The file's own time of the last packet that begins before some time; of the first one where none does."""
        before = np.flatnonzero(self._packets.begins <= time)
        return int(self._packets.stamps[before[-1] if len(before) else 0])

    def _due_from(self, number: int) -> int | None:
        due = self._runs.next_from(number)
        return due if due is not None and due < len(self._packets.begins) else None

    def _marks(self, number: int) -> tuple[int, int] | None:
        if number >= len(self._packets.begins):
            return None
        return int(self._packets.places[number]), int(self._packets.stamps[number])

    def _recognised(self, packet: Any) -> int | None:
        if not self._known:
            pairs = zip(self._packets.places.tolist(), self._packets.stamps.tolist(), strict=True)
            for number, pair in enumerate(pairs):
                self._known[pair] = None if pair in self._known else number  # several alike tell nothing
        return self._known.get(stamp_of(packet))


class _Reader:
    """Reads the packets of a large file, and seeks over what nobody wants."""

    def __init__(self, recording: Recording, runs: Mapping[str, Runs], settle: Callable[[], None]) -> None:
        self._recording, self._settle = recording, settle
        facts = recording.facts
        self._places = {
            kind: _Place(facts.video if kind == "video" else facts.audio, some) for kind, some in runs.items()
        }
        self._may_seek, self._sought = bool(facts.seek), False
        self._stands_elsewhere, self._target = False, -np.inf

    def run(self) -> Iterator[tuple[str, int, Any]]:
        """Kind, number and packet of what is wanted."""
        self._seek_ahead()
        while True:
            yield from self._read_on()
            if not self._is_due():
                return
            if self._stands_elsewhere:
                continue
            if not self._sought:
                return
            self._may_seek = self._sought = False
            self._recording.rewind()
            for place in self._places.values():
                place.next = 0

    def _read_on(self) -> Iterator[tuple[str, int, Any]]:
        """What is wanted from here on, until all of it is there, a seek is better, or it turns out to be missed."""
        self._stands_elsewhere = False
        streams = {kind: self._recording.streams[kind] for kind in self._places}
        kinds = {stream.index: kind for kind, stream in streams.items()}
        for packet in self._recording.demuxed(list(streams.values())):
            kind = kinds[packet.stream_index]
            place = self._places[kind]
            number = place.number(packet, self._sought)
            if number is None or place.due is None or number < place.due:
                self._stands_elsewhere = self._seek_ahead()
                if self._stands_elsewhere or not self._is_due():
                    return
            elif number == place.due:
                place.passed(number)
                yield kind, number, packet
            else:  # a seek led too far
                return

    def _is_due(self) -> bool:
        return any(place.due is not None for place in self._places.values())

    def _seek_ahead(self) -> bool:
        """Seek to what is wanted next, if that is far; whether it was done."""
        due = [place for place in self._places.values() if place.due is not None]
        here = [place.begins(place.next) for place in due if place.next is not None]
        if not self._may_seek or not here or len(here) < len(due):
            return False
        target = min(place.begins(place.due) for place in due if place.due is not None)
        # NaN: nobody knows. A place that the last seek did not lead nearer to is read towards.
        if not target - max(here) > SEEK or target <= self._target:
            return False
        self._target = target
        self._settle()
        try:
            self._seek(target)
        except av.error.FFmpegError:
            self._may_seek = False
            self._sought = True  # nobody knows where it stands
        else:
            self._sought = True
        for place in self._places.values():
            place.next = None
        return True

    def _seek(self, target: float) -> None:
        facts, container = self._recording.facts, self._recording.container
        streams = self._recording.streams
        if facts.seek == "index" and "video" not in streams:
            # Samples are cut into packets from where the seek leads: only from a packet's own time, into the same ones.
            stamp = self._places["audio"].stamp_before(target - LEAD)
            container.seek(stamp, stream=streams["audio"])
        elif facts.seek == "index":
            container.seek(int((target - LEAD + facts.origin) * av.time_base))
        else:
            before = [place.byte_before(target - 2 * LEAD) for place in self._places.values()]
            first = min((at for at in before if at is not None), default=0)
            container.seek(first, unsupported_byte_offset=True)
