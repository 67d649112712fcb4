"""One pass of FFmpeg's decoders over a file, of which only what is wanted is decoded and kept.

Pictures are known by their packets: the time at which a wanted picture begins leads to its packet, and from there back
to one that can be decoded alone. What lies between is decoded, the rest is passed over or, where it pays, sought over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import av
import numpy as np

from ercache.params.schema import Limits
from extract.media.audio import Piece, piece_of
from extract.media.container import is_verdict
from extract.media.probe import Packets
from extract.media.recording import LEAD, Recording, Runs
from extract.media.scaling import Scaler
from extract.media.types import Image, Times
from extract.media.video import Branch

DELAY: Final = 40  # packets after a picture's own by which decoders have given it out
# Decoders that look before each packet whether pictures that no other needs are wanted, and whose packets are one
# picture each: dav1d looks once, and packed MPEG-4 holds two pictures in a packet.
SKIPPING: Final = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video"})
# AC-3 fills what was left out with noise: this is the same wherever decoding begins, but is forgotten by a decoder
# whose buffers are flushed. It holds nothing back and depends on the packet before alone, so it need not be.
NEVER_FLUSHED: Final = frozenset({"ac3", "eac3"})
OPTIONS: Final = {"cons_noisegen": "1"}
WORK: Final = 60.0  # seconds of media to decode that `limits.seconds` are meant for
_PACKED: Final = re.compile(rb"DivX\d+(b|Build)\d+p")
Window = tuple[float, float]  # on the file's own clock, seconds


@dataclass
class Wanted:
    """What is wanted of a file.

    Attributes:
        pictures: how they are filtered -> when they begin, seconds from the start of the file, sorted.
        windows: stretches of sound, on the file's own clock.
    """

    pictures: Mapping[Branch, Times] = field(default_factory=dict)
    windows: Sequence[Window] = ()


def numbers_of_pictures(packets: Packets, times: Times) -> list[int]:
    """Numbers of the packets of the pictures that begin at some times."""
    order = np.argsort(packets.begins, kind="stable")  # NaN last
    ranks = np.searchsorted(packets.begins[order], times - 1e-9)
    return [int(n) for n in order[np.minimum(ranks, len(order) - 1)]]


def runs_of_pictures(packets: Packets, times: Times) -> Runs:
    """What has to be decoded for the pictures that begin at some times."""
    keys = np.flatnonzero(packets.keys & ~np.isnan(packets.begins))
    begins = packets.begins[keys]
    # A key serves what is shown after it, or after the next one where that is when its picture is whole; where damage
    # has put keys out of order, the earliest of those behind counts.
    whole = np.where(packets.refreshes[keys], np.append(begins, np.inf)[1:], begins)
    earliest = np.minimum.accumulate(whole[::-1])[::-1]
    runs = []
    for time, number in zip(times, numbers_of_pictures(packets, times), strict=True):
        rank = int(np.searchsorted(earliest, time - LEAD, side="right")) - 1
        rank = min(rank, int(np.searchsorted(keys, number, side="right")) - 1)
        runs.append((int(keys[rank]) if rank >= 0 else 0, number + DELAY))
    return Runs(runs)


def runs_of_sound(packets: Packets, windows: Sequence[Window], origin: float) -> Runs:
    """What has to be decoded for stretches of sound; all of it where a packet does not say when it begins."""
    begins = packets.begins
    if np.isnan(begins).any() or (np.diff(begins) < 0).any():
        return Runs([(0, len(begins))] if windows else [])
    ends = begins + packets.lengths
    runs = []
    for start, end in windows:
        first = int(np.searchsorted(ends, start - origin - LEAD)) if np.isfinite(start) else 0
        last = int(np.searchsorted(begins, end - origin + LEAD)) if np.isfinite(end) else len(begins)
        runs.append((max(0, first - 1), last))
    return Runs(runs)


def is_packed(stream: Any) -> bool:
    """Whether a stream is MPEG-4 of which a packet may hold two pictures, and another none (DivX and Xvid in avi)."""
    context = None if stream is None else stream.codec_context
    return context is not None and context.name == "mpeg4" and bool(_PACKED.search(context.extradata or b""))


class Packed:
    """Times of the pictures of a packed stream: they come in the order in which they are shown, one picture late."""

    def __init__(self) -> None:
        self._times: list[int] = []

    def set_times(self, packet: Any, frames: Sequence[Any]) -> None:
        """Give the frames that came out with a packet (None: the last ones) the earliest times that are left."""
        if packet is not None and packet.pts is not None:
            self._times = sorted([*self._times, packet.pts])[-2:]
        for frame in frames:
            if self._times:
                frame.pts = self._times.pop(0)
        if packet is None:
            self._times = []


class Pass:
    """Decodes what is wanted of a recording.

    Args:
        wanted: pictures and sound.
        limits: of one clip; the clock is set on by what there is to decode.

    Attributes:
        images: pictures that were found, by filter and time; whoever has used one takes it out.
        pieces: sound that was found, in the order of the file; likewise.
        until: how far pictures and sound are decoded, seconds from the start of the file (`video`) and on the file's
            own clock (`audio`); infinite once nothing more will come.
    """

    def __init__(self, recording: Recording, wanted: Wanted, limits: Limits) -> None:
        self.images: dict[Branch, dict[float, Image]] = {branch: {} for branch in wanted.pictures}
        self.pieces: list[Piece] = []
        self.until = {"video": -np.inf, "audio": -np.inf}
        self._recording, self._facts, self._limits = recording, recording.facts, limits
        self._scalers = {branch: Scaler(branch, self._facts.pixel) for branch in wanted.pictures}
        self._branches: dict[float, list[Branch]] = {}
        for branch, times in wanted.pictures.items():
            for time in times.tolist():
                self._branches.setdefault(time, []).append(branch)
        self._times = np.array(sorted(self._branches))
        self._runs: dict[str, Runs] = {}
        if len(self._times):
            self._runs["video"] = runs_of_pictures(self._facts.video, self._times)
        self._pictures = frozenset(numbers_of_pictures(self._facts.video, self._times))
        if wanted.windows:
            self._runs["audio"] = runs_of_sound(self._facts.audio, wanted.windows, self._facts.origin)
        self._last = dict.fromkeys(self._runs, -1)
        self._packed = Packed() if is_packed(recording.streams.get("video")) else None
        self._contexts: dict[str, Any] = {}
        self._ticks = {kind: stream.time_base for kind, stream in recording.streams.items()}
        self._slack = min(0.001, float(self._ticks.get("video", 1)) / 4)

    def run(self) -> Iterator[None]:
        """Decode; yields after each packet, when `images`, `pieces` and `until` may have grown."""
        recording = self._recording
        recording.clock.extend(self._limits.seconds * max(0.0, self._work() / WORK - 1))
        self._contexts = {
            kind: self._context(stream) for kind, stream in recording.streams.items() if kind in self._runs
        }
        for kind in ("video", "audio"):
            if kind not in self._runs:
                self.until[kind] = np.inf
        for kind, number, packet in recording.packets(self._runs, self._settle):
            recording.clock.check()
            if number != self._last[kind] + 1 and self._last[kind] >= 0:  # what lies between was passed over
                self._flush(kind)
            self._last[kind] = number
            if kind == "video" and self._contexts[kind].name in SKIPPING:
                self._contexts[kind].skip_frame = self._may_skip(number)
            self._decode(kind, self._on_time(kind, number, packet))
            self._advance(kind, number)
            yield
        for kind in self._runs:
            self._decode(kind, None)
            self.until[kind] = np.inf
        yield

    def _context(self, stream: Any) -> Any:
        """The decoder of a stream, opened before any choice of what to skip, which some decoders take for good."""
        context = stream.codec_context
        if context.name in NEVER_FLUSHED:  # a seek of its container would
            context = av.CodecContext.create(context.name, "r")
        context.thread_count = 1
        context.options = OPTIONS | {"max_pixels": str(self._limits.pixels)}
        try:
            context.open(strict=False)
        except av.error.FFmpegError as error:
            if not is_verdict(error):
                raise
            self._recording.complaints.add(context.name, error)
        return context

    def _flush(self, kind: str) -> None:
        """Take what a decoder still holds, and make it ready for another place of the file."""
        context = self._contexts[kind]
        if context.name not in NEVER_FLUSHED:
            self._decode(kind, None)
            context.flush_buffers()

    def _settle(self) -> None:
        for kind, last in self._last.items():
            if last >= 0:
                self._flush(kind)
                self._last[kind] = -1

    def _work(self) -> float:
        """Seconds of media that are to be decoded."""
        packets = {"video": self._facts.video, "audio": self._facts.audio}
        lengths = [0.0]
        for kind, runs in self._runs.items():
            begins = packets[kind].begins
            last = len(begins) - 1
            if last < 0:
                continue
            lengths.append(
                sum(float(np.nan_to_num(begins[min(b, last)] - begins[min(a, last)])) for a, b in runs)
            )
        return max(lengths)

    def _on_time(self, kind: str, number: int, packet: Any) -> Any:
        """The packet, on the file's sane clock."""
        packets = self._facts.video if kind == "video" else self._facts.audio
        if self._facts.repaired and number < len(packets.shift):
            ticks = round(float(packets.shift[number]) / float(packet.time_base))
            if packet.pts is not None:
                packet.pts += ticks
            packet.dts = None  # else the decoder may take it for the better clock of the two
        return packet

    def _may_skip(self, number: int) -> str:
        """What a decoder need not decode of a packet: nothing where it is wanted, or where a file is damaged."""
        return "DEFAULT" if number in self._pictures or self._recording.complaints else "NONREF"

    def _decode(self, kind: str, packet: Any) -> None:
        """Decode a packet, or what a decoder still holds; data that it refuses are passed over, as FFmpeg does."""
        self._recording.complaints.trim()
        context = self._contexts[kind]
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError as error:
            if not is_verdict(error):
                raise
            if not isinstance(error, EOFError):
                self._recording.complaints.add(context.name, error)
            return
        if kind == "video" and self._packed is not None:
            self._packed.set_times(packet, frames)
        for frame in frames:
            if kind == "video":
                self._take(frame)
            else:
                self.pieces.append(
                    piece_of(frame, self._ticks["audio"], self.pieces[-1] if self.pieces else None)
                )

    def _take(self, frame: Any) -> None:
        if frame.pts is None:
            return
        begin = frame.pts * float(self._ticks["video"]) - self._facts.origin
        rank = int(np.abs(self._times - begin).argmin())
        time = float(self._times[rank])
        self.until["video"] = max(self.until["video"], begin)
        if abs(time - begin) > self._slack or frame.width * frame.height > self._limits.pixels:
            return
        for branch in self._branches[time]:
            if time not in self.images[branch]:
                self.images[branch][time] = self._scalers[branch].picture(frame)

    def _advance(self, kind: str, number: int) -> None:
        """Note that nothing before a packet will come any more."""
        if kind == "audio" and self.pieces:
            piece = self.pieces[-1]
            self.until["audio"] = piece.end / piece.rate
        elif kind == "video" and number >= DELAY:
            begin = self._facts.video.begins[number - DELAY]
            if not np.isnan(begin):
                self.until["video"] = max(self.until["video"], float(begin))
