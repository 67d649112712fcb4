"""Find H.264 packets at which decoding may begin although they contain no complete picture (intra refresh).

Live encoders that use intra refresh renew the picture one region at a time, over many packets, and mark the first of
these packets as a key packet. A decoder returns no picture until the whole picture has been renewed, at the latest at
the next key packet.
"""

from collections.abc import Iterator
from typing import Final

_SLICES: Final = (1, 5)  # types of NAL units that hold a part of a picture
_HEAD: Final = 16  # bytes at the start of a unit that hold its type and the type of its slice
_INTRA: Final = (2, 4, 7, 9)  # types of slices that need no other picture


def is_refresh(packet: bytes, extradata: bytes) -> bool:
    """Return whether the first slice of a key packet needs other pictures, so that an intra refresh begins here.

    Args:
        packet: the bytes of the packet.
        extradata: extra data of the stream; they say whether NAL units are separated by lengths or by start codes.
    """
    for unit in _units(packet, extradata):
        if unit and unit[0] & 31 in _SLICES:
            bits = "".join(f"{byte:08b}" for byte in unit[1:])
            _, at = _number(bits, 0)
            kind, _ = _number(bits, at)
            return kind not in _INTRA
    return False


def _units(packet: bytes, extradata: bytes) -> Iterator[bytes]:
    """Yield the first bytes of each NAL unit of a packet."""
    if extradata[:1] == b"\x01" and len(extradata) > 4:
        width = (extradata[4] & 3) + 1
        at = 0
        while at + width < len(packet):
            size = int.from_bytes(packet[at : at + width], "big")
            yield packet[at + width : at + width + min(size, _HEAD)]
            at += width + size
    else:
        at = packet.find(b"\x00\x00\x01")
        while at >= 0:
            yield packet[at + 3 : at + 3 + _HEAD]
            at = packet.find(b"\x00\x00\x01", at + 3)


def _number(bits: str, at: int) -> tuple[int, int]:
    """Read an Exp-Golomb number from bits; return the number and the position after it.

    If the bits end too early, return 0.
    """
    zeros = bits.find("1", at) - at
    end = at + 2 * zeros + 1
    if zeros < 0 or end > len(bits):
        return 0, len(bits)
    return int(bits[at + zeros : end], 2) - 1, end
