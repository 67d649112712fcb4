"""Build the input of a RoBERTa from an utterance and its neighbours in the dialogue, as EmoBERTa does.

The input is `<s> past </s></s> current </s></s> future </s>`. Here `past` stands for all earlier utterances, joined by
blanks, and `future` for all later ones. Each utterance begins with its speaker's name (`ROSS: Hi.`). Training and
extraction with `text/m2fnet-roberta` both use this file, so they give the network the same input.

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
    """The ids that a tokenizer gives to the special tokens `<s>` (`start`) and `</s>` (`end`)."""

    start: int = 0
    end: int = 2


@dataclass(frozen=True)
class ContextSequence:
    """The input of a RoBERTa: the tokens of the current utterance and of its neighbours in the dialogue.

    Attributes:
        ids: token ids of the whole input, with special tokens.
        own: slice of `ids` with the tokens of the current utterance and its speaker's name.
        past, future: how many earlier and how many later utterances the input contains.
    """

    ids: tuple[int, ...]
    own: slice
    past: int
    future: int


def speaker_name(speaker: str, names: NameStyle) -> str:
    """Return the name of a speaker in capitals, as it is written before the speaker's utterances.

    IEMOCAP's ten speakers have no names. They get an invented first name (`names` is `first`) or their sex (`sex`).
    """
    found = _IEMOCAP.fullmatch(speaker)
    if found and names != "none":
        session, sex = int(found[1]), found[2]
        speaker = _FIRST[sex][session - 1] if names == "first" else _SEX[sex]
    return speaker.upper()


def speaker_prefix(speaker: str | None, names: NameStyle) -> str:
    """Return the speaker's name as text to put before an utterance, such as `ROSS: `.

    The text is empty if `names` is `none` or if the corpus does not say who speaks.
    """
    return "" if names == "none" or not speaker else f"{speaker_name(speaker, names)}: "


def with_speaker(text: str, speaker: str | None, names: NameStyle) -> str:
    """Return the text of an utterance with its speaker's name in front; an empty text stays empty, without a name."""
    return speaker_prefix(speaker, names) + text if text else ""


def context_sequence(
    past: Sequence[str] | None,
    own: str,
    future: Sequence[str] | None,
    encode: Encode,
    marks: SpecialTokens = SpecialTokens(),
    limit: int = LIMIT,
) -> ContextSequence:
    """Return the tokens of an utterance together with as many of its neighbours in the dialogue as fit.

    Neighbours are added in turn, the nearest first: one before, one after, and so on, until one does not fit. If the
    utterance alone is too long, its end is cut off.

    Args:
        past, future: earlier and later utterances, in the order of the dialogue. None omits the separator `</s></s>` of
            this side; an empty list keeps the separator.
        own: the current utterance.
        encode: turns text into token ids. The ids of `A B` must be the ids of `A` followed by those of ` B` (with the
            blank); byte-level BPE fulfils this.
        marks: ids of the special tokens.
        limit: largest number of tokens in the input, including special tokens.
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
    """Choose the earlier and the later utterances that together fit into `room` tokens.

    Return two lists (earlier, later), each in the order of the dialogue.
    """
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
    """Return the token ids of successive utterances (all earlier or all later ones), joined by blanks."""
    return [token for n, turn in enumerate(turns) for token in encode(f" {turn}" if n else turn)]
