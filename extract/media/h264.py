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
    """Return whether an intra refresh begins at a key packet.

    It does if the first slice (a region of the picture) cannot be decoded without other pictures.

    Args:
        packet: the bytes of the packet.
        extradata: the stream's codec header; it says how the units of data (NAL units) in a packet are separated: by
            their lengths or by start codes.
    """
    for unit in _units(packet, extradata):
        if unit and unit[0] & 31 in _SLICES:
            bits = "".join(f"{byte:08b}" for byte in unit[1:])
            _, at = _number(bits, 0)
            kind, _ = _number(bits, at)
            return kind not in _INTRA
    return False


def _units(packet: bytes, extradata: bytes) -> Iterator[bytes]:
    """Yield the first 16 bytes of each NAL unit (H.264's unit of coded data, for example a slice) of a packet."""
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
    """Read a number in H.264's variable-length code (Exp-Golomb).

    Args:
        bits: the bits as a string of `0` and `1`.
        at: position of the first bit of the number.

    Returns:
        The number, and the position after it. If the bits end too early, the number is 0.
    """
    zeros = bits.find("1", at) - at
    end = at + 2 * zeros + 1
    if zeros < 0 or end > len(bits):
        return 0, len(bits)
    return int(bits[at + zeros : end], 2) - 1, end
