"""Find who says what in a subtitle cue: split it into turns, and find the speakers that the file names.

A speaker is named by a WebVTT voice span (`<v Mary>Hello`), by a name and a colon (`MARY: Hello`, `>> Mary Ann: Hello`,
`JOHN (ON PHONE): Hello`), or by a name in brackets (`[SPEAKER_00]: Hello`, `[Alba] Hola`, `(SPEAKER_00) Hello`). A name
has up to three words that do not begin with a lower-case letter, or it is the tag of a diarization program. A new turn
in a cue begins at a voice, at `>>`, at a line with a dash, and at a line with a name below the first line. Speakers are
never guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final

from extract.corpora.common.asides import describes_sound
from extract.corpora.common.cue_text import CueLine, join_words, split_at

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
class CueTurn:
    """What one speaker says in a subtitle cue.

    Attributes:
        speaker: name of the speaker; None where the file names nobody.
        words: the words of the turn.
        marked: whether the file shows that a speaker begins here, by a name, a voice, `>>` or a dash.
    """

    speaker: str | None
    words: CueLine
    marked: bool


def ends_sentence(text: str) -> bool:
    """Return whether a text ends a sentence, for example with a full stop."""
    return _ENDED.search(text) is not None


def speaker_label(text: str, names_in_text: bool = True) -> tuple[str, int] | None:
    """Return the speaker's name at the beginning of a text and the position at which the speech begins.

    None if the text does not begin with a name.

    Args:
        text: the text.
        names_in_text: whether all names count; if not, only a diarization program's tags in brackets count, for
            example `[SPEAKER_00]`.
    """
    arrows = _ARROWS.match(text)
    place = arrows.end() if arrows else 0
    if (match := _BRACKETED.match(text, place)) is not None:
        name = match[1] or match[2]
        sure = _DIARIZED.fullmatch(name) is not None
        told = bool(match[3]) or (match[1] is not None and not describes_sound(name))
        accepted = sure or (names_in_text and told and _is_name(name))
    elif (match := _NAMED.match(text, place)) is not None:
        name = match[1]
        accepted = names_in_text and _is_name(name)
    if match is None or not accepted:
        return None
    if match.end() == len(text) and not (_DIARIZED.fullmatch(name) or name.isupper()):
        return None  # `Listen:` at the end of a cue is not a name
    return " ".join(name.split()), match.end()


def _is_name(name: str) -> bool:
    return _DIARIZED.fullmatch(name) is not None or not any(word[0].islower() for word in name.split())


def is_speaker_line(line: CueLine, names_in_text: bool = True) -> bool:
    """Return whether a line holds only a speaker's name, such as `[Alba]`; the speech is in the lines below.

    `[APPLAUSE]` is no such line, because it describes a sound.
    """
    text = join_words(line)
    label = speaker_label(f"{text} x", names_in_text)
    if label is None or label[1] != len(text) + 1:
        return False
    return _DIARIZED.fullmatch(label[0]) is not None or not label[0].isupper() or text.endswith((":", "："))


def turns_of(lines: Sequence[CueLine], names_in_text: bool = True) -> list[CueTurn]:
    """Split the lines of a subtitle cue into the turns of its speakers, in order.

    A turn without words is possible: its cue shows only a name, which is that of the speaker in the next cue.
    """
    words = tuple(chain.from_iterable(lines))
    if not words:
        return []
    if any(word.voice for word in words):
        return [
            CueTurn(voice, tuple(said), voice is not None)
            for voice, said in groupby(words, lambda w: w.voice)
        ]
    pieces = [piece for line in lines for piece in _pieces(line)]
    starts = _starts(pieces, names_in_text)
    bounds = [n for n, start in enumerate(starts) if start]
    return [
        _turn(tuple(chain.from_iterable(pieces[a:b])), len(bounds) > 1, names_in_text)
        for a, b in zip(bounds, [*bounds[1:], len(pieces)], strict=True)
    ]


def _pieces(line: CueLine) -> list[CueLine]:
    """Cut a subtitle line where another speaker may begin: before each `>>`, and before a second dash."""
    text = join_words(line)
    places = {match.start() for match in _ARROWS.finditer(text)}
    if _DASH.match(text):
        dashes = (match.end() for match in _SECOND_DASH.finditer(text))
        places |= {place for place in dashes if not text[place : place + 9].lstrip("-–— ")[:1].islower()}
    return split_at(line, sorted(places | {0, len(text)})) if places - {0} else [line]


def _starts(pieces: Sequence[CueLine], names_in_text: bool) -> list[bool]:
    """Return for each piece of a cue (a line, or what `_pieces` cut from it) whether a new turn begins with it."""
    texts = [join_words(piece) for piece in pieces]
    dashed = [_DASH.match(text) is not None for text in texts]
    several = sum(dashed) > 1
    # A name may be on a line of its own, above the speech.
    labels = [
        speaker_label(_DASH.sub("", text, count=1) + " x" * (n + 1 < len(texts)), names_in_text)
        for n, text in enumerate(texts)
    ]
    starts = []
    for n, (text, label) in enumerate(zip(texts, labels, strict=True)):
        after = n > 0 and ends_sentence(texts[n - 1])
        shouted = label is not None and (label[0].isupper() or _DIARIZED.fullmatch(label[0]) is not None)
        first = labels[0] is not None and not dashed[0]
        # Names in one cue are written in the same way: below `ANN: Look,` the line `Remember: never` names nobody.
        written_alike = shouted or (first and labels[0] is not None and not labels[0][0].isupper())
        starts.append(
            n == 0
            or _ARROWS.match(text) is not None
            or (dashed[n] and (several or first or after))
            or (label is not None and written_alike and (first or after or dashed[0]))
        )
    return starts


def _turn(words: CueLine, several: bool, names_in_text: bool) -> CueTurn:
    text = join_words(words)
    arrows = _ARROWS.match(text)
    dash = None if arrows else _DASH.match(text)
    place = arrows.end() if arrows else dash.end() if dash else 0
    label = speaker_label(text[place:], names_in_text)
    if label is not None:
        return CueTurn(label[0], _from(words, place + label[1]), True)
    # A single dash before a single turn is part of its text.
    kept = words if dash and not several else _from(words, place)
    return CueTurn(None, kept, bool(arrows) or bool(dash and several))


def _from(words: CueLine, place: int) -> CueLine:
    return split_at(words, [place, len(join_words(words))])[0] if place else words
