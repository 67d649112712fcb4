"""The index of the packets of one stream of a media file."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extract.media.types import Times


@dataclass(frozen=True)
class Packets:
    """The n packets of one stream in the order of the file; empty packets are left out.

    Attributes:
        begins: corrected time at which the content of each packet begins, seconds from the start of the file; NaN where
            a packet does not state it, [n].
        shift: correction that was added to the file's own times, seconds, [n].
        lengths: duration of each packet, seconds; 0 where a packet does not state it, [n].
        keys: whether decoding can begin at the packet, [n].
        refreshes: whether the packet is a key that begins an intra refresh: the picture is complete only at the next
            key, [n].
        shown: whether the content is displayed (an edit list may hide it), [n].
        places: byte position of each packet in the file, -1 where unknown, [n].
        stamps: the file's own display times, in ticks of the stream, [n].
    """

    begins: Times
    shift: Times
    lengths: Times
    keys: NDArray[np.bool_]
    refreshes: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    places: NDArray[np.int64]
    stamps: NDArray[np.int64]

    @cached_property
    def end(self) -> float | None:
        """When the last packet ends, seconds; None if no packet states its time."""
        ends = self.begins + self.lengths
        return float(np.nanmax(ends)) if len(ends) and not np.isnan(ends).all() else None

    def find(self, place: int, stamp: int) -> int | None:
        """Return the index of the packet with a byte position and a timestamp; None if not exactly one packet has them.

        Args:
            place: byte position in the file, -1 where unknown.
            stamp: the file's own display time, in ticks of the stream.
        """
        first, last = (int(np.searchsorted(self._sorted_stamps, stamp, side)) for side in ("left", "right"))
        equal = self._order[first:last]
        found = equal[self.places[equal] == place]
        return int(found[0]) if len(found) == 1 else None

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.stamps, kind="stable")

    @cached_property
    def _sorted_stamps(self) -> NDArray[np.int64]:
        return self.stamps[self._order]


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
