"""Words of a cue, clean: markup, entities and what cannot be seen are off; times and voices of words are kept."""

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.entities import html5
from typing import Final

import numpy as np

from extract.text.normalise import repair

_TAGS: Final = "b|i|u|s|c|v|p|em|strong|font|span|lang|ruby|rt"
# WebVTT and HTML; times of words; ASS ({\an8}). Other angle brackets are text: `a < b`, `<3`.
_TAG: Final = re.compile(rf"</?(?:{_TAGS})(?:[.\s][^<>]*)?/?>|<[\d:.]+>|\{{\\[^{{}}]*\}}", re.I)
_BREAK_TAG: Final = re.compile(r"<br\s*/?>", re.I)
# ASS: \N and \n break a line, \h is a hard blank; `C:\New` is a path.
_BREAK: Final = re.compile(r"(\b[A-Za-z]:\\\S*)|\\[Nn]")
_HARD_BLANK: Final = re.compile(r"(\b[A-Za-z]:\\\S*)|\\h")
# Without the semicolon, `?a=1&param=2` would hold a pilcrow. A doubly written `&amp;#39;` is one, too.
_ENTITY: Final = re.compile(r"&(?:amp;)*(#\d{1,7};|#[xX][\da-fA-F]{1,6};|[A-Za-z][A-Za-z\d]{1,31};)")
_INVISIBLE: Final = frozenset({"Cc", "Cf"})
_JOINERS: Final = "\u200c\u200d"
# While a line is cleaned, the n-th time or voice in it is the n-th code point of a plane for private use.
_PLANE: Final = 0xF0000
_PRIVATE: Final = re.compile(f"[{chr(_PLANE)}-{chr(_PLANE + 0xFFFF)}]")
# Between letters of Persian or Hindi, or parts of an emoji, a joiner is orthography; elsewhere it is litter.
_LETTER: Final = f"[^\u0000-\u024f\\s{chr(_PLANE)}-{chr(_PLANE + 0xFFFF)}]"
_LOOSE: Final = re.compile(rf"(?<!{_LETTER})[{_JOINERS}]+|[{_JOINERS}]+(?!{_LETTER}|[{_JOINERS}])")
_DEPTH: Final = 64  # how often what comes out of entities and nested tags is cleaned again
_NOTED: Final = re.compile(
    r"<(?:(?P<time>(?:\d{1,4}:)?\d{1,2}:\d{1,2}\.\d{1,3})|v(?:\.[^\s<>]*)?\s+(?P<voice>[^<>]+)|/v)>", re.I
)


@dataclass(frozen=True)
class Word:
    """A word, the second at which it begins, and whose voice it is, where the file says so."""

    text: str
    at: float | None = None
    voice: str | None = None


Words = tuple[Word, ...]


@dataclass(frozen=True)
class Passage:
    """Lines of words between two times, in seconds."""

    start: float
    end: float
    lines: tuple[Words, ...]

    @property
    def words(self) -> Words:
        """All its words."""
        return tuple(word for line in self.lines for word in line)


def clean(text: str) -> str:
    """Text without markup, entities, invisible characters and superfluous blanks; cleaning it again changes nothing."""
    for _ in range(_DEPTH):
        cleaned = _cleaned(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def _cleaned(text: str) -> str:
    text = _TAG.sub("", _BREAK_TAG.sub(" ", text))
    text = _ENTITY.sub(_character, text)
    text = _HARD_BLANK.sub(_path_or_blank, _BREAK.sub(_path_or_blank, text))
    if not text.isprintable():
        text = "".join(c for c in repair(text) if c in _JOINERS or c.isspace() or not _invisible(c))
        text = _LOOSE.sub("", text)
    return " ".join(text.split())


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if not name.startswith("#") and name not in html5:
        return entity[0]
    return _PRIVATE.sub("", html.unescape(f"&{name}"))


def _path_or_blank(found: re.Match[str]) -> str:
    return found[1] or " "


def words_of(lines: Sequence[str]) -> tuple[Words, ...]:
    """Words of a cue's lines; lines without any are left out, and ASS and HTML may break lines once more."""
    found: list[Words] = []
    voice: str | None = None
    for written in lines:
        for line in _BREAK.sub(lambda m: m[1] or "\n", _BREAK_TAG.sub("\n", written)).split("\n"):
            words, voice = _line(line, voice)
            if words:
                found.append(words)
    return tuple(found)


def _line(line: str, voice: str | None) -> tuple[Words, str | None]:
    """Words of a line that begins in a voice, and the voice in which it ends."""
    noted: list[re.Match[str]] = []

    def cover(match: re.Match[str]) -> str:
        noted.append(match)
        return chr(_PLANE + len(noted) - 1) if len(noted) <= 0xFFFE else ""

    covered = clean(_NOTED.sub(cover, _PRIVATE.sub("", line)))
    if not noted:
        return tuple(Word(token, None, voice) for token in covered.split()), voice
    words: list[Word] = []
    at: float | None = None
    for token in covered.split():
        said, first = "", (at, voice)
        for character in token:
            if not _PRIVATE.match(character):
                first = first if said else (at, voice)
                said, at = said + character, None
            elif (match := noted[ord(character) - _PLANE])["time"]:
                at = _seconds(match["time"])
            else:  # a voice may end where there is no blank: <v Ann>Hi<v Bob>Yes
                words += [Word(said, *first)] if said else []
                said, voice = "", clean(match["voice"] or "") or None
        words += [Word(said, *first)] if said else []
    return tuple(words), voice


def _seconds(stamp: str) -> float:
    seconds = 0.0
    for part in stamp.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def text_of(words: Sequence[Word]) -> str:
    """Words with single blanks between them."""
    return " ".join(word.text for word in words)


def parts(words: Words, bounds: Sequence[int]) -> list[Words]:
    """The words between each two characters of `text_of(words)`, cut where these are inside of one.

    Args:
        bounds: places of characters, sorted.
    """
    found: list[list[Word]] = [[] for _ in bounds[1:]]
    place = 0
    for word in words:
        n = max(0, bisect_right(bounds, place) - 1)
        while n < len(found) and bounds[n] < place + len(word.text):
            text = word.text[max(0, bounds[n] - place) : max(0, bounds[n + 1] - place)]
            found[n] += [word if text == word.text else replace(word, text=text)] if text else []
            n += 1
        place += len(word.text) + 1
    return [tuple(part) for part in found]


def begins(words: Sequence[Word], start: float, end: float) -> list[float]:
    """Seconds at which each word begins: as the file says; between such words in proportion to length.

    Args:
        words: what is said from `start` to `end`; times of words outside are moved inside.
    """
    if not words:
        return []
    places = np.cumsum([0, *(len(word.text) + 1 for word in words)], dtype=np.float64)
    known = [0, *(n for n, word in enumerate(words) if n and word.at is not None), len(words)]
    times = [start if words[0].at is None else words[0].at]
    times += [words[n].at or 0.0 for n in known[1:-1]]
    fixed = np.maximum.accumulate(np.clip([*times, end], start, end))
    return [round(float(t), 3) for t in np.interp(places[:-1], places[known], fixed)]
