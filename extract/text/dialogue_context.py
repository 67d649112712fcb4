"""An utterance among its neighbours, as EmoBERTa writes them: `<s> past </s></s> current </s></s> future </s>`.

Turns carry their speakers' names (`ROSS: Hi.`), those of one side are joined by blanks. Extraction and the training
of `text/m2fnet-roberta` both build their input here.

Source: docs/papers/m2fnet.md, section 3.1; docs/encoders.md#roberta-and-emoberta.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

from ercache.nets.roberta import LIMIT

Names = Literal["none", "first", "sex"]
Tokens = Sequence[int]
Encode = Callable[[str], Tokens]
"""Token ids of a text, without marks of beginning and end."""

_IEMOCAP: Final = re.compile(r"Ses0([1-5])([FM])", re.ASCII)
_FIRST: Final = {
    "F": ("Mary", "Patricia", "Jennifer", "Linda", "Elizabeth"),
    "M": ("James", "John", "Robert", "Michael", "William"),
}
_SEX: Final = {"F": "Female", "M": "Male"}


@dataclass(frozen=True)
class Marks:
    """Ids of `<s>` and `</s>`."""

    start: int = 0
    end: int = 2


@dataclass(frozen=True)
class InContext:
    """A sequence for RoBERTa.

    Attributes:
        ids: at most as many as the limit.
        own: where the current turn's tokens lie in them, its name included.
        past, future: neighbours that found room.
    """

    ids: tuple[int, ...]
    own: slice
    past: int
    future: int


def name_of(speaker: str, names: Names) -> str:
    """How a speaker is called, in capitals; the ten of IEMOCAP by a first name or by their sex."""
    found = _IEMOCAP.fullmatch(speaker)
    if found and names != "none":
        session, sex = int(found[1]), found[2]
        speaker = _FIRST[sex][session - 1] if names == "first" else _SEX[sex]
    return speaker.upper()


def prefix_of(speaker: str | None, names: Names) -> str:
    """What stands before a turn: `ROSS: `, or nothing."""
    return "" if names == "none" or not speaker else f"{name_of(speaker, names)}: "


def spoken(text: str, speaker: str | None, names: Names) -> str:
    """A turn with its speaker; a turn without text says nothing."""
    return prefix_of(speaker, names) + text if text else ""


def in_context(
    past: Sequence[str] | None,
    own: str,
    future: Sequence[str] | None,
    encode: Encode,
    marks: Marks = Marks(),
    limit: int = LIMIT,
) -> InContext:
    """The sequence of a turn with as many of its neighbours as find room, the nearest first, past before future.

    Growth ends with the first neighbour that would pass the limit; a current turn that alone passes it loses its end.

    Args:
        past, future: neighbouring turns in the order of the dialogue; a side that is None is not asked for and
            leaves no separator, one that is asked for and empty does.
        encode: must give the same ids for turns joined by blanks as for each turn with its blank (byte-level BPE does).
    """
    separators = 2 * ((past is not None) + (future is not None))
    current = list(encode(own))[: limit - separators - 2]
    room = limit - separators - 2 - len(current)
    before, after = _grown(past or (), future or (), encode, room)
    ids = [marks.start, *_part(before, encode)]
    ids += [marks.end, marks.end] if past is not None else []
    start = len(ids)
    ids += current
    ids += [marks.end, marks.end] if future is not None else []
    ids += [*_part(after, encode), marks.end]
    return InContext(tuple(ids), slice(start, start + len(current)), len(before), len(after))


def _grown(
    past: Sequence[str], future: Sequence[str], encode: Encode, room: int
) -> tuple[list[str], list[str]]:
    """The neighbours that fit into so many tokens, in the order of the dialogue."""
    before: list[str] = []
    after: list[str] = []
    for older, newer in zip_longest(reversed(past), future, fillvalue=""):
        for turn, wider in ((older, "before"), (newer, "after")):
            if not turn:
                continue
            sides = ([turn, *before], after) if wider == "before" else (before, [*after, turn])
            if sum(len(_part(side, encode)) for side in sides) > room:
                return before, after
            before, after = sides
    return before, after


def _part(turns: Sequence[str], encode: Encode) -> list[int]:
    """Ids of the turns of one side, joined by blanks."""
    return [token for n, turn in enumerate(turns) for token in encode(f" {turn}" if n else turn)]
