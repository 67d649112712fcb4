"""Find the times that a media file stores (its clocks), so that a test can falsify them.

A *slot* is the place of one stored time. It knows how many bits the number has and how many ticks make a second. The
times of packets are `absolute`: they count from the start of the file. Adding to all times from one packet on makes a
gap. Adding to the time of one packet only makes it too early or too late.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

TS: Final = 188  # bytes of a packet of MPEG-TS
_PES: Final = re.compile(rb"\x00\x00\x01[\xc0\xe0]", re.DOTALL)


@dataclass(frozen=True)
class Slot:
    """A place in a media file that stores a time.

    Attributes:
        at: offset of the place in the file.
        bits: number of bits of the stored number, which wraps around when it overflows.
        second: number of ticks per second, approximately.
        absolute: whether the time counts from the start of the file.
    """

    at: int
    bits: int
    second: int
    absolute: bool
    read: Callable[[bytes], int]
    write: Callable[[bytearray, int], None]

    def add(self, data: bytearray, ticks: int) -> None:
        """Add ticks to the stored time. A negative number makes it earlier."""
        self.write(data, (self.read(bytes(data[self.at : self.at + 16])) + ticks) % (1 << self.bits))


def slots(data: bytes, container: str) -> list[Slot]:
    """Find all stored times of a file, in the order of the file. Empty if the container has no packets with times."""
    finder = _FINDERS.get(container)
    return sorted(finder(data), key=lambda slot: slot.at) if finder else []


def _number(at: int, size: int, second: int, absolute: bool) -> Slot:
    """A slot for a time that is stored as a big-endian number."""

    def write(data: bytearray, value: int) -> None:
        data[at : at + size] = value.to_bytes(size, "big")

    return Slot(at, 8 * size, second, absolute, lambda b: int.from_bytes(b[:size], "big"), write)


def _pes_time(at: int) -> Slot:
    """A slot for a time of 33 bits, stored in five bytes with a marker bit after each of its three pieces."""

    def read(b: bytes) -> int:
        return (b[0] >> 1 & 7) << 30 | b[1] << 22 | b[2] >> 1 << 15 | b[3] << 7 | b[4] >> 1

    def write(data: bytearray, value: int) -> None:
        high, middle, low = value >> 30, value >> 15 & 0x7FFF, value & 0x7FFF
        data[at] = data[at] & 0xF0 | high << 1 | 1
        data[at + 1 : at + 5] = struct.pack(">HH", middle << 1 | 1, low << 1 | 1)

    return Slot(at, 33, 90_000, True, read, write)


def _pcr(at: int) -> Slot:
    """A slot for a clock reference of MPEG-TS: 33 bits, and an extension that is left unchanged."""

    def write(data: bytearray, value: int) -> None:
        data[at : at + 4] = (value >> 1).to_bytes(4, "big")
        data[at + 4] = data[at + 4] & 0x7F | (value & 1) << 7

    return Slot(at, 33, 90_000, True, lambda b: int.from_bytes(b[:4], "big") << 1 | b[4] >> 7, write)


def _packets(data: bytes) -> Iterator[Slot]:
    """Find the times of packets in MPEG-PS and MPEG-TS, for MPEG-TS together with the clock references."""
    for found in _PES.finditer(data):
        at = found.start()
        head = data[at : at + 20]
        if len(head) < 20 or head[6] & 0xC0 != 0x80:
            continue
        if head[7] & 0x80:
            yield _pes_time(at + 9)
        if head[7] & 0xC0 == 0xC0:
            yield _pes_time(at + 14)


def _transport(data: bytes) -> Iterator[Slot]:
    yield from _packets(data)
    for at in range(0, len(data) - TS + 1, TS):
        if data[at] == 0x47 and data[at + 3] & 0x20 and data[at + 4] > 6 and data[at + 5] & 0x10:
            yield _pcr(at + 6)


def _flv(data: bytes) -> Iterator[Slot]:
    """Find the times of FLV tags, in milliseconds: three low bytes, then the highest byte."""

    def slot(at: int) -> Slot:
        def write(data: bytearray, value: int) -> None:
            low = value & 0xFFFFFF
            data[at : at + 4] = low.to_bytes(3, "big") + bytes([value >> 24])

        return Slot(at, 32, 1000, True, lambda b: int.from_bytes(b[:3], "big") | b[3] << 24, write)

    at = 13
    while at + 11 <= len(data):
        if data[at] in (8, 9):
            yield slot(at + 4)
        at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4


def _ebml_length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length field of Matroska. Return the length, and the number of bytes of the field."""
    size = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + size], "big") & (1 << 7 * size) - 1, size


def _matroska(data: bytes) -> Iterator[Slot]:
    """Find the times of Matroska: milliseconds of each cluster, and of each block relative to its cluster."""
    for found in re.finditer(rb"\x1f\x43\xb6\x75", data):
        length, size = _ebml_length(data, found.end())
        at = found.end() + size
        end = min(at + length, len(data) - 16)
        while at < end:
            inner, size = _ebml_length(data, at + 1)
            body = at + 1 + size
            if data[at] == 0xE7:
                yield _number(body, inner, 1000, True)
            elif data[at] in (0xA1, 0xA3):
                yield _number(body + 1, 2, 1000, False)
            elif data[at] not in (0xA0, 0xA7, 0xAB, 0xBF, 0x9B, 0xFB, 0xEC):
                break
            at = body if data[at] == 0xA0 else body + inner  # a group's block is among its children


def _mp4(data: bytes) -> Iterator[Slot]:
    """Find the times of mp4: starts of fragments, durations and offsets of samples, edit lists, and time scales."""
    for found in re.finditer(rb"tfdt(.)", data, re.DOTALL):
        size = 8 if found[1] == b"\x01" else 4
        yield _number(found.start() + 8, size, 10_000, True)
    for name, first, step in ((b"stts", 16, 8), (b"ctts", 16, 8), (b"elst", 16, 12), (b"mdhd", 16, 4)):
        for found in re.finditer(name, data):
            count = int.from_bytes(data[found.start() + 8 : found.start() + 12], "big")
            entries = 1 if name == b"mdhd" else min(count, 20)
            for n in range(entries):
                at = found.start() + first + n * step
                if at + 16 <= len(data):
                    yield _number(at, 4, 10_000, False)


def _ogg(data: bytes) -> Iterator[Slot]:
    """Find the times of Ogg: the granule position (number of samples so far) of each page."""

    def slot(at: int) -> Slot:
        def write(data: bytearray, value: int) -> None:
            data[at : at + 8] = value.to_bytes(8, "little")
            seal_ogg(data, at - 6)

        return Slot(at, 64, 16_000, True, lambda b: int.from_bytes(b[:8], "little"), write)

    for found in re.finditer(rb"OggS\x00", data):
        if found.start() + 27 < len(data):
            yield slot(found.start() + 6)


def seal_ogg(data: bytearray, at: int) -> None:
    """Correct the checksum of a changed Ogg page. Readers would skip a page with a wrong checksum."""
    segments = data[at + 26]
    end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
    data[at + 22 : at + 26] = bytes(4)
    crc = 0
    for byte in data[at:end]:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[(crc >> 24) ^ byte]
    data[at + 22 : at + 26] = crc.to_bytes(4, "little")


def _crc_table() -> list[int]:
    table = []
    for n in range(256):
        value = n << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if value & 1 << 31 else value << 1
        table.append(value)
    return table


_CRC: Final = _crc_table()
_FINDERS: Final[dict[str, Callable[[bytes], Iterator[Slot]]]] = {
    "ts": _transport,
    "mpg": _packets,
    "flv": _flv,
    "mkv": _matroska,
    "webm": _matroska,
    "mp4": _mp4,
    "frag": _mp4,
    "m4a": _mp4,
    "ogg": _ogg,
}
