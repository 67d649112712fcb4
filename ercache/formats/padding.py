"""Find and remove the padding of sequences that were padded to equal length.

MMSA pads at the end; MMSA-FET with `--pad-location start` pads at the start. A file gives only the length of a sequence
without padding, but not the side. Rows of zeros show whether the padding is at the start or at the end.
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
    """Sequences after their padding was removed.

    Attributes:
        side: where most utterances of the file have their padding, `start` or `end`; `end` if no utterance shows it.
        unsure: utterances with zeros on both sides, if no utterance of the file shows where its padding is.
        rows: dictionary from utterance to values without padding, [T, D]: T rows of D numbers.
        inside: utterances that lose a nonzero row, whether the padding is removed at the start or at the end.
    """

    side: Side
    unsure: list[str] = field(default_factory=list)
    rows: dict[str, Array] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)

    def notes(self, name: str) -> list[str]:
        """Write notes for the user: on which side the padding was removed, and which utterances are doubtful.

        Args:
            name: name of the feature.
        """
        notes = []
        if self.side == "start":
            notes.append(
                f"{name}: the padding is at the start (as MMSA-FET writes it with --pad-location start) and was "
                "removed there"
            )
        if self.unsure:
            what = f"{name}: {len(self.unsure)} utterances have zeros on both sides; which are padding is unknown"
            notes.append(f"{what}; the first rows were kept, no value is lost: {first_few(self.unsure)}")
        if self.inside:
            what = f"{name}: {len(self.inside)} utterances have values beyond their length on both sides"
            notes.append(f"{what}; the first rows were kept, up to the length: {first_few(self.inside)}")
        return notes


def cut_padding(rows: Sequence[tuple[str, Array, int]]) -> CutResult:
    """Remove the padding of sequences: cut each one to its length, on the side where its rows are zeros.

    Args:
        rows: one triple per utterance: its id; its padded values [T, D], T rows of D numbers; and its number of rows
            without padding.
    """
    fitting = {utterance: _fitting(values, length) for utterance, values, length in rows}
    clear = [sides[0] for sides in fitting.values() if len(sides) == 1]
    cut = CutResult("start" if clear.count("start") > clear.count("end") else "end")
    for utterance, values, length in rows:
        sides = fitting[utterance]
        if not sides:
            cut.inside.append(utterance)
        elif len(sides) == 2 and not clear and length < len(values) and values.any():
            cut.unsure.append(utterance)
        # If both sides fit, the utterance has zeros among its values, and is cut like the others.
        side = sides[0] if len(sides) == 1 else cut.side if sides else "end"
        cut.rows[utterance] = values[len(values) - length :] if side == "start" else values[:length]
    return cut


def _fitting(values: Array, length: int) -> tuple[Side, ...]:
    """Find the sides, `start` or `end`, where removing rows down to `length` removes only zeros. None, one or both."""
    full = np.flatnonzero(values.reshape(len(values), -1).any(axis=1))
    if not len(full):
        return _SIDES
    fits = {"end": full[-1] < length, "start": full[0] >= len(values) - length}
    return tuple(side for side in _SIDES if fits[side])
