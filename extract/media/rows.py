"""Read the packets of a file's streams: all together, or one stream after the other if a stream is damaged.

mp4 and mov have a table of the packets of each stream. Where FFmpeg cannot go on with one stream, because its table is
damaged, it stops reading the other streams as well. So each stream is then read alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import av

from extract.media.container import Deadline, ErrorLog, demuxed
from extract.media.display import NO_TIME
from extract.media.h264 import is_refresh

# A packet of at most this size only says that the picture does not change, even if it is marked as a key.
EMPTY_PACKET_BYTES: Final = 8
EARLY_SECONDS: Final = 0.25  # a sane stream may end this much before the duration that its header states
# Rank in the file, display time and decoding time in ticks (`NO_TIME` where missing), duration in ticks, whether it is
# a key, whether the key begins an intra refresh, whether its content is displayed, and byte position.
Row = tuple[int, int, int, int, bool, bool, bool, int]


def read_rows(
    open_container: Callable[[], Any],
    container: Any,
    streams: Sequence[Any],
    deadline: Deadline,
    error_log: ErrorLog,
    keep: bool,
) -> tuple[list[list[Row]], list[Any], bool]:
    """Read all packets of some streams of a file, and list the properties of each packet.

    Args:
        open_container: function that opens the file anew.
        container: the open file.
        streams: the streams.
        deadline: time limit for the file.
        error_log: FFmpeg's error messages.
        keep: also return FFmpeg's packets with their data.

    Returns:
        Three things: for each stream, a list with the properties of each packet (`Row`: times, duration, position,
        ...); FFmpeg's packets if `keep`, else an empty list; and whether the file must be opened once for each stream,
            because reading them together ends too early.
    """
    rows, kept = _read(container, streams, deadline, error_log, keep)
    if len(streams) < 2 or "mov" not in container.format.name or not any(map(_ends_early, streams, rows)):
        return rows, kept, False
    found: list[list[Row]] = []
    packets: list[Any] = []
    for stream in streams:
        alone = open_container()
        read_alone(alone, [stream.index])
        some, of_stream = _read(alone, [alone.streams[stream.index]], deadline, error_log, keep)
        found += some
        packets += of_stream
    more = any(len(a) > len(b) for a, b in zip(found, rows, strict=True))
    return (found, packets, True) if more else (rows, kept, False)


def read_alone(container: Any, numbers: Sequence[int]) -> None:
    """Make FFmpeg read only the streams with these indices."""
    for stream in container.streams:
        if stream.index not in numbers:
            stream.discard = av.stream.Discard.all


def _read(
    container: Any, streams: Sequence[Any], deadline: Deadline, error_log: ErrorLog, keep: bool
) -> tuple[list[list[Row]], list[Any]]:
    found: dict[int, list[Row]] = {s.index: [] for s in streams}
    kept: list[Any] = []
    for place, packet in enumerate(demuxed(container, streams, deadline, error_log)) if streams else ():
        found[packet.stream_index].append(_row(place, packet))
        if keep:
            kept.append(packet)
    return [found[s.index] for s in streams], kept


def _ends_early(stream: Any, rows: Sequence[Row]) -> bool:
    ends = [pts + length for _, pts, _, length, *_ in rows if pts != NO_TIME]
    stated = (stream.start_time or 0) + (stream.duration or 0)
    return stated - max(ends, default=0) > EARLY_SECONDS / float(stream.time_base)


def packet_identity(packet: Any) -> tuple[int, int]:
    """Return two values that identify a packet in its file: byte position and display time (as stored in the file)."""
    return (-1 if packet.pos is None else packet.pos, NO_TIME if packet.pts is None else packet.pts)


def _row(place: int, packet: Any) -> Row:
    pos, pts = packet_identity(packet)
    dts = NO_TIME if packet.dts is None else packet.dts
    key = packet.is_keyframe and packet.size > EMPTY_PACKET_BYTES
    refresh = key and _is_refresh(packet)
    return place, pts, dts, packet.duration or 0, key, refresh, not packet.is_discard, pos


def _is_refresh(packet: Any) -> bool:
    context = packet.stream.codec_context
    return bool(context.name == "h264" and is_refresh(bytes(packet), context.extradata or b""))
