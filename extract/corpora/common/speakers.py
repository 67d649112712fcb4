"""Who says what in a cue: turns, and their speakers where the file names them.

A speaker is named by WebVTT's voice spans (`<v Mary>Hello`), by a name and a colon (`MARY: Hello`,
`>> Mary Ann: Hello`, `JOHN (ON PHONE): Hello`), or by a name in brackets (`[SPEAKER_00]: Hello`, `[Alba] Hola`,
`(SPEAKER_00) Hello`). A name is up to three words without a small initial, or what diarizers write. Turns of one cue
begin at voices, at `>>`, at lines with dashes, and at lines with names below the first. Nobody is guessed at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final

from extract.corpora.common.asides import sounds_like
from extract.corpora.common.cue_text import Words, parts, text_of

_NAME: Final = r"[^\W\d_][\w'’.&-]*(?: #?[\w'’.&-]+){0,2}"
_MANNER: Final = r"(?:\s*[\[(][^\[\]()]*[\])])?"  # JOHN (ON PHONE):
_COLON: Final = r"(?::(?=\s|$)|：)"
_NAMED: Final = re.compile(rf"({_NAME}){_MANNER}\s?{_COLON}\s*")
_BRACKETED: Final = re.compile(rf"(?:\[\s*({_NAME}){_MANNER}\s*\]|\(\s*({_NAME})\s*\))\s*({_COLON})?\s*")
_DIARIZED: Final = re.compile(r"(?:speaker|spk)[ _-]?(?:\d{1,3}|[A-Z])", re.I)
_DASH: Final = re.compile(r"\s*[-–—]\s*(?=\S)")
_ARROWS: Final = re.compile(r"(?:(?<=\s)|^)>{2,}\s*")
_SECOND_DASH: Final = re.compile(r"(?<=[.!?…\"'”’])\s+(?=[-–—]\s*\S)")
_ENDED: Final = re.compile(r"[.!?…。！？]['\"’”»)\]]*$")


@dataclass(frozen=True)
class Turn:
    """What one speaker says in a cue.

    Attributes:
        speaker: None where the file names nobody.
        marked: whether the file says that somebody begins to speak here.
    """

    speaker: str | None
    words: Words
    marked: bool


def ended(text: str) -> bool:
    """Whether a sentence ends with a text."""
    return _ENDED.search(text) is not None


def label_of(text: str, names_in_text: bool = True) -> tuple[str, int] | None:
    """The name of a speaker at the beginning of a text, and the place where the words begin.

    Args:
        names_in_text: whether names count that are no diarizer's tags in brackets.
    """
    arrows = _ARROWS.match(text)
    place = arrows.end() if arrows else 0
    if (match := _BRACKETED.match(text, place)) is not None:
        name = match[1] or match[2]
        sure = _DIARIZED.fullmatch(name) is not None
        told = bool(match[3]) or (match[1] is not None and not sounds_like(name))
        accepted = sure or (names_in_text and told and _is_name(name))
    elif (match := _NAMED.match(text, place)) is not None:
        name = match[1]
        accepted = names_in_text and _is_name(name)
    if match is None or not accepted:
        return None
    if match.end() == len(text) and not (_DIARIZED.fullmatch(name) or name.isupper()):
        return None  # `Listen:` at the end of a cue is no name
    return " ".join(name.split()), match.end()


def _is_name(name: str) -> bool:
    return _DIARIZED.fullmatch(name) is not None or not any(word[0].islower() for word in name.split())


def is_label(line: Words, names_in_text: bool = True) -> bool:
    """Whether a line is a speaker's name in brackets above what is said; `[APPLAUSE]` is none."""
    text = text_of(line)
    label = label_of(f"{text} x", names_in_text)
    if label is None or label[1] != len(text) + 1:
        return False
    return _DIARIZED.fullmatch(label[0]) is not None or not label[0].isupper() or text.endswith((":", "："))


def turns_of(lines: Sequence[Words], names_in_text: bool = True) -> list[Turn]:
    """Turns of a cue, in its order; one without words is a name alone, of whoever speaks in the next cue."""
    words = tuple(chain.from_iterable(lines))
    if not words:
        return []
    if any(word.voice for word in words):
        return [
            Turn(voice, tuple(said), voice is not None) for voice, said in groupby(words, lambda w: w.voice)
        ]
    pieces = [piece for line in lines for piece in _pieces(line)]
    starts = _starts(pieces, names_in_text)
    bounds = [n for n, start in enumerate(starts) if start]
    return [
        _turn(tuple(chain.from_iterable(pieces[a:b])), len(bounds) > 1, names_in_text)
        for a, b in zip(bounds, [*bounds[1:], len(pieces)], strict=True)
    ]


def _pieces(line: Words) -> list[Words]:
    """Parts of a line, of which each but the first begins with `>>` or a second dash."""
    text = text_of(line)
    places = {match.start() for match in _ARROWS.finditer(text)}
    if _DASH.match(text):
        dashes = (match.end() for match in _SECOND_DASH.finditer(text))
        places |= {place for place in dashes if not text[place : place + 9].lstrip("-–— ")[:1].islower()}
    return parts(line, sorted(places | {0, len(text)})) if places - {0} else [line]


def _starts(pieces: Sequence[Words], names_in_text: bool) -> list[bool]:
    """Whether each piece begins a turn."""
    texts = [text_of(piece) for piece in pieces]
    dashed = [_DASH.match(text) is not None for text in texts]
    several = sum(dashed) > 1
    # A name may stand in a line of its own, above what is said.
    labels = [
        label_of(_DASH.sub("", text, count=1) + " x" * (n + 1 < len(texts)), names_in_text)
        for n, text in enumerate(texts)
    ]
    starts = []
    for n, (text, label) in enumerate(zip(texts, labels, strict=True)):
        after = n > 0 and ended(texts[n - 1])
        shouted = label is not None and (label[0].isupper() or _DIARIZED.fullmatch(label[0]) is not None)
        first = labels[0] is not None and not dashed[0]
        # Names of one cue are written alike: below `ANN: Look,` the line `Remember: never` names nobody.
        alike = shouted or (first and labels[0] is not None and not labels[0][0].isupper())
        starts.append(
            n == 0
            or _ARROWS.match(text) is not None
            or (dashed[n] and (several or first or after))
            or (label is not None and alike and (first or after or dashed[0]))
        )
    return starts


def _turn(words: Words, several: bool, names_in_text: bool) -> Turn:
    text = text_of(words)
    arrows = _ARROWS.match(text)
    dash = None if arrows else _DASH.match(text)
    place = arrows.end() if arrows else dash.end() if dash else 0
    label = label_of(text[place:], names_in_text)
    if label is not None:
        return Turn(label[0], _from(words, place + label[1]), True)
    # A dash alone, before a single turn, is part of its text.
    kept = words if dash and not several else _from(words, place)
    return Turn(None, kept, bool(arrows) or bool(dash and several))


def _from(words: Words, place: int) -> Words:
    return parts(words, [place, len(text_of(words))])[0] if place else words
