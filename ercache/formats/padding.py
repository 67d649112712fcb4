"""Where the padding of sequences lies that were all made equally long, told from their lengths and their zeros.

MMSA pads at the end, MMSA-FET's `--pad-location start` in front of the values. A length tells how many rows are values,
not which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from ercache.cache import Array
from ercache.formats.content import first_few

Side = Literal["start", "end"]
_SIDES: Final[tuple[Side, ...]] = ("end", "start")


@dataclass
class CutResult:
    """Sequences without their padding, and what is to be told of it.

    Attributes:
        side: where the padding of the file is; end where nothing tells.
        unsure: utterances with zeros on both sides, where no other tells the side.
        rows: utterance -> [T, D].
        inside: utterances that have values on both sides of what their length allows.
    """

    side: Side
    unsure: list[str] = field(default_factory=list)
    rows: dict[str, Array] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)

    def notes(self, name: str) -> list[str]:
        """Sentences for people."""
        notes = []
        if self.side == "start":
            notes.append(
                f"{name}: its padding stands in front of the values (as MMSA-FET's --pad-location start writes it) "
                "and is cut there"
            )
        if self.unsure:
            told = f"{name}: {len(self.unsure)} utterances have zeros on both sides and nothing tells which are padding"
            notes.append(f"{told}; the first rows are kept, no value is lost: {first_few(self.unsure)}")
        if self.inside:
            told = f"{name}: {len(self.inside)} utterances have values beyond their length on either side"
            notes.append(
                f"{told}; the first rows are kept, as many as the length says: {first_few(self.inside)}"
            )
        return notes


def cut_padding(rows: Sequence[tuple[str, Array, int]]) -> CutResult:
    """Cut sequences to their lengths, on the side where their zeros are.

    Args:
        rows: utterance, values [T, D] and length.
    """
    fitting = {utterance: _fitting(values, length) for utterance, values, length in rows}
    told = [sides[0] for sides in fitting.values() if len(sides) == 1]
    cut = CutResult("start" if told.count("start") > told.count("end") else "end")
    for utterance, values, length in rows:
        sides = fitting[utterance]
        if not sides:
            cut.inside.append(utterance)
        elif len(sides) == 2 and not told and length < len(values) and values.any():
            cut.unsure.append(utterance)
        # One that both sides fit has zeros of its own: it is cut as the others are.
        side = sides[0] if len(sides) == 1 else cut.side if sides else "end"
        cut.rows[utterance] = values[len(values) - length :] if side == "start" else values[:length]
    return cut


def _fitting(values: Array, length: int) -> tuple[Side, ...]:
    """The sides on which padding of zeros would leave all values."""
    full = np.flatnonzero(values.reshape(len(values), -1).any(axis=1))
    if not len(full):
        return _SIDES
    fits = {"end": full[-1] < length, "start": full[0] >= len(values) - length}
    return tuple(side for side in _SIDES if fits[side])
