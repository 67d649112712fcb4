"""Build the input of a RoBERTa from an utterance and its neighbours in the dialogue, as EmoBERTa does.

The input is `<s> past </s></s> current </s></s> future </s>`. Utterances begin with the speaker's name (`ROSS: Hi.`).
All past utterances are joined by blanks, and so are all future ones. Extraction and training of `text/m2fnet-roberta`
both build their input here.

Source: docs/papers/m2fnet.md, section 3.1; docs/encoders.md#roberta-and-emoberta.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

from ercache.nets.roberta import LIMIT

NameStyle = Literal["none", "first", "sex"]
Tokens = Sequence[int]
Encode = Callable[[str], Tokens]
"""Encodes a text into token ids, without special tokens at beginning and end."""

_IEMOCAP: Final = re.compile(r"Ses0([1-5])([FM])", re.ASCII)
_FIRST: Final = {
    "F": ("Mary", "Patricia", "Jennifer", "Linda", "Elizabeth"),
    "M": ("James", "John", "Robert", "Michael", "William"),
}
_SEX: Final = {"F": "Female", "M": "Male"}


@dataclass(frozen=True)
class SpecialTokens:
    """The token ids of `<s>` and `</s>`."""

    start: int = 0
    end: int = 2


@dataclass(frozen=True)
class ContextSequence:
    """A token sequence for RoBERTa: an utterance with its neighbours.

    Attributes:
        ids: token ids.
        own: slice of `ids` with the tokens of the current utterance and its speaker's name.
        past, future: number of utterances before and after that are in the sequence.
    """

    ids: tuple[int, ...]
    own: slice
    past: int
    future: int


def speaker_name(speaker: str, names: NameStyle) -> str:
    """Return a speaker's name in capitals. The ten nameless speakers of IEMOCAP get a first name or their sex."""
    found = _IEMOCAP.fullmatch(speaker)
    if found and names != "none":
        session, sex = int(found[1]), found[2]
        speaker = _FIRST[sex][session - 1] if names == "first" else _SEX[sex]
    return speaker.upper()


def speaker_prefix(speaker: str | None, names: NameStyle) -> str:
    """Return the text before an utterance, such as `ROSS: `; empty if names are not used or the speaker is unknown."""
    return "" if names == "none" or not speaker else f"{speaker_name(speaker, names)}: "


def with_speaker(text: str, speaker: str | None, names: NameStyle) -> str:
    """Return an utterance with its speaker's name in front; empty for an utterance without text."""
    return speaker_prefix(speaker, names) + text if text else ""


def context_sequence(
    past: Sequence[str] | None,
    own: str,
    future: Sequence[str] | None,
    encode: Encode,
    marks: SpecialTokens = SpecialTokens(),
    limit: int = LIMIT,
) -> ContextSequence:
    """Return the tokens of an utterance with as many neighbours as fit: nearest ones first, past before future.

    No neighbour is added after the first one that would exceed the limit. An utterance that exceeds the limit by itself
    is cut.

    Args:
        past, future: utterances before and after, in the order of the dialogue. None: this side is not read, and has no
            separator token. An empty list: this side is read, and has a separator token.
        own: the current utterance.
        encode: turns text into token ids. The ids of `A B` must be the ids of `A` followed by those of ` B` (with the
            blank); byte-level BPE fulfils this.
        marks: ids of the special tokens.
        limit: largest number of tokens.
    """
    separators = 2 * ((past is not None) + (future is not None))
    current = list(encode(own))[: limit - separators - 2]
    room = limit - separators - 2 - len(current)
    before, after = _fitting_neighbours(past or (), future or (), encode, room)
    ids = [marks.start, *_join_turns(before, encode)]
    ids += [marks.end, marks.end] if past is not None else []
    start = len(ids)
    ids += current
    ids += [marks.end, marks.end] if future is not None else []
    ids += [*_join_turns(after, encode), marks.end]
    return ContextSequence(tuple(ids), slice(start, start + len(current)), len(before), len(after))


def _fitting_neighbours(
    past: Sequence[str], future: Sequence[str], encode: Encode, room: int
) -> tuple[list[str], list[str]]:
    """Return the past and the future neighbours that fit into `room` tokens: two lists in the order of the dialogue."""
    before: list[str] = []
    after: list[str] = []
    for older, newer in zip_longest(reversed(past), future, fillvalue=""):
        for turn, wider in ((older, "before"), (newer, "after")):
            if not turn:
                continue
            sides = ([turn, *before], after) if wider == "before" else (before, [*after, turn])
            if sum(len(_join_turns(side, encode)) for side in sides) > room:
                return before, after
            before, after = sides
    return before, after


def _join_turns(turns: Sequence[str], encode: Encode) -> list[int]:
    """Return the token ids of the utterances on one side (past or future), joined by blanks."""
    return [token for n, turn in enumerate(turns) for token in encode(f" {turn}" if n else turn)]
