"""Extract the words of a subtitle cue, without markup, entities and invisible characters.

A subtitle file may state for a word the time at which it begins and its speaker (`voice`). Both are kept.
"""

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
# The semicolon is required: without it, `?a=1&param=2` would contain a pilcrow. `&amp;#39;` is a double encoding.
_ENTITY: Final = re.compile(r"&(?:amp;)*(#\d{1,7};|#[xX][\da-fA-F]{1,6};|[A-Za-z][A-Za-z\d]{1,31};)")
_INVISIBLE: Final = frozenset({"Cc", "Cf"})
_JOINERS: Final = "\u200c\u200d"
# While a line is cleaned, its n-th time or voice is replaced by the n-th code point of a private-use plane.
_PLANE: Final = 0xF0000
_PRIVATE: Final = re.compile(f"[{chr(_PLANE)}-{chr(_PLANE + 0xFFFF)}]")
# ASS: \N and \n break a line, \h is a hard blank; `C:\New` is a path. A path ends at a time or a voice.
_PATH: Final = rf"(\b[A-Za-z]:\\[^\s{chr(_PLANE)}-{chr(_PLANE + 0xFFFF)}]*)"
_BREAK: Final = re.compile(rf"{_PATH}|\\[Nn]")
_HARD_BLANK: Final = re.compile(rf"{_PATH}|\\h")
# Joiners are part of the spelling between letters of Persian or Hindi and in emoji; elsewhere they are removed.
_LETTER: Final = f"[^\u0000-\u024f\\s{chr(_PLANE)}-{chr(_PLANE + 0xFFFF)}]"
_STRAY_JOINERS: Final = re.compile(rf"(?<!{_LETTER})[{_JOINERS}]+|[{_JOINERS}]+(?!{_LETTER}|[{_JOINERS}])")
_MAX_PASSES: Final = 64  # how often text that comes out of entities and nested tags is cleaned again
_TIME_OR_VOICE: Final = re.compile(
    r"<(?:(?P<time>(?:\d{1,4}:)?\d{1,2}:\d{1,2}\.\d{1,3})|v(?:\.[^\s<>]*)?\s+(?P<voice>[^<>]+)|/v)>", re.I
)


@dataclass(frozen=True)
class CueWord:
    """A word, the time at which it begins (seconds), and the voice that speaks it; None where the file does not say."""

    text: str
    at: float | None = None
    voice: str | None = None


CueLine = tuple[CueWord, ...]


@dataclass(frozen=True)
class Passage:
    """Lines of words that are shown or spoken together, with a start and an end time in seconds."""

    start: float
    end: float
    lines: tuple[CueLine, ...]

    @property
    def words(self) -> CueLine:
        """The words of all lines of the passage in one list, in order."""
        return tuple(word for line in self.lines for word in line)


def clean(text: str) -> str:
    """Return a subtitle text without markup, invisible characters and superfluous blanks.

    Entities such as `&amp;` are replaced by the characters that they stand for.
    """
    for _ in range(_MAX_PASSES):
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
        text = _STRAY_JOINERS.sub("", text)
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


def cue_lines(lines: Sequence[str]) -> tuple[CueLine, ...]:
    """Return the words of each line of a subtitle cue, without markup. Lines without words are left out.

    A line break in the markup (`<br>` of HTML, `\\N` of ASS) also begins a new line.
    """
    found: list[CueLine] = []
    voice: str | None = None
    for written in lines:
        for line in _BREAK.sub(lambda m: m[1] or "\n", _BREAK_TAG.sub("\n", written)).split("\n"):
            words, voice = _line(line, voice)
            if words:
                found.append(words)
    return tuple(found)


def _line(line: str, voice: str | None) -> tuple[CueLine, str | None]:
    """Return the words of a subtitle line, and the voice (speaker) at the end of the line.

    Args:
        line: the line with its markup.
        voice: the voice at the beginning of the line; None if the file names none.
    """
    found_marks: list[re.Match[str]] = []

    def mask(match: re.Match[str]) -> str:
        found_marks.append(match)
        return chr(_PLANE + len(found_marks) - 1) if len(found_marks) <= 0xFFFE else ""

    masked = clean(_TIME_OR_VOICE.sub(mask, _PRIVATE.sub("", line)))
    if not found_marks:
        return tuple(CueWord(token, None, voice) for token in masked.split()), voice
    words: list[CueWord] = []
    at: float | None = None
    for token in masked.split():
        said, first = "", (at, voice)
        for character in token:
            if not _PRIVATE.match(character):
                first = first if said else (at, voice)
                said, at = said + character, None
            elif (match := found_marks[ord(character) - _PLANE])["time"]:
                at = _seconds(match["time"])
            else:  # a voice may end without a blank: <v Ann>Hi<v Bob>Yes
                words += [CueWord(said, *first)] if said else []
                said, voice = "", clean(match["voice"] or "") or None
        words += [CueWord(said, *first)] if said else []
    return tuple(words), voice


def _seconds(stamp: str) -> float:
    seconds = 0.0
    for part in stamp.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def join_words(words: Sequence[CueWord]) -> str:
    """Return a list of words as one text, with a single blank between two words."""
    return " ".join(word.text for word in words)


def split_at(words: CueLine, bounds: Sequence[int]) -> list[CueLine]:
    """Split a list of words at character positions of the joined text.

    A word that contains a position is cut in two.

    Args:
        words: the words.
        bounds: sorted character positions in `join_words(words)`.

    Returns:
        One list of words for each pair of successive positions: the words between these positions.
    """
    found: list[list[CueWord]] = [[] for _ in bounds[1:]]
    place = 0
    for word in words:
        n = max(0, bisect_right(bounds, place) - 1)
        while n < len(found) and bounds[n] < place + len(word.text):
            text = word.text[max(0, bounds[n] - place) : max(0, bounds[n + 1] - place)]
            found[n] += [word if text == word.text else replace(word, text=text)] if text else []
            n += 1
        place += len(word.text) + 1
    return [tuple(part) for part in found]


def word_starts(words: Sequence[CueWord], start: float, end: float) -> list[float]:
    """Return the time at which each word begins, in seconds.

    Times that the subtitle file states are used. All other times are interpolated, in proportion to the lengths of the
    words.

    Args:
        words: words spoken from `start` to `end`; stated times outside this interval are moved to its ends.
        start, end: start and end of the words, seconds.
    """
    if not words:
        return []
    places = np.cumsum([0, *(len(word.text) + 1 for word in words)], dtype=np.float64)
    known = [0, *(n for n, word in enumerate(words) if n and word.at is not None), len(words)]
    times = [start if words[0].at is None else words[0].at]
    times += [words[n].at or 0.0 for n in known[1:-1]]
    fixed = np.maximum.accumulate(np.clip([*times, end], start, end))
    return [round(float(t), 3) for t in np.interp(places[:-1], places[known], fixed)]
