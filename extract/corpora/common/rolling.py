"""Rolling captions, as YouTube and television write them: what earlier cues showed is taken out of the later ones.

Each sentence stands in two to four cues: as it is spoken, often with a time for each word; for some milliseconds; above
the next one. Other programs show a sentence once for each word in it, with that word underlined, or let it grow. What
is left of a cue are its new words, from its start to the next one's. They are put together to sentences where the
captions have full stops; else the words that appear together stay together.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from extract.corpora.common.asides import is_aside
from extract.corpora.common.cue_files import Shown
from extract.corpora.common.cue_text import Passage, Word, Words, begins, text_of
from extract.corpora.common.speakers import ended, label_of

GAP: Final = 0.1  # seconds without captions after which nothing is shown any longer
PAUSE: Final = 2.0  # seconds without captions that end a sentence
LONGEST: Final = 20.0  # seconds after which a sentence ends where a cue does
SENTENCE: Final = 40  # words; where fewer than one full stop comes to as many, there is no punctuation
FEWEST: Final = 4  # cues that overlap, before it is their manner
_ABBREVIATIONS: Final = frozenset(
    ["mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "etc.", "e.g.", "i.e."]
)


def unrolled(shown: Sequence[Shown], passages: Sequence[Passage]) -> list[Passage] | None:
    """Passages in which nothing is said twice, or None where the cues do not roll.

    Args:
        shown: cues, by their times.
        passages: the same with their words.
    """
    if _rolls(shown, passages):
        return sentences(_new_words(passages))
    return sentences(_one_after_the_other(passages)) if _overlaps(passages) else None


def _rolls(shown: Sequence[Shown], passages: Sequence[Passage]) -> bool:
    """Whether every fourth cue goes on with lines of the one before; two people may both say `No.`"""
    scrolled = grown = 0
    for (cue, before), (later, now) in pairwise(zip(shown, passages, strict=True)):
        if now.start - before.end <= GAP:
            whole, begun = _shown_before(before.lines, now.lines)
            marked = len(now.words) > 1 and _written(cue) != _written(later)  # another word is underlined
            scrolled += whole > 0 and (whole < len(now.lines) or marked)
            grown += not whole and begun > 0
    return scrolled + (grown if grown > 1 else 0) >= max(1, (len(shown) - 1) / 4)


def _overlaps(passages: Sequence[Passage]) -> bool:
    """Whether cues stay until the next but one comes, as in a display of two lines; nobody interrupts so regularly."""
    pairs = list(pairwise(passages))
    late = sum(a.start < b.start < a.end <= b.end for a, b in pairs)
    apart = all(b.start >= a.end - GAP for a, b in zip(passages, passages[2:], strict=False))
    return len(passages) >= FEWEST and late >= 0.75 * len(pairs) and apart


def _written(cue: Shown) -> list[str]:
    return [line.strip() for line in cue.lines if line.strip()]


def _said(line: Words) -> list[tuple[str, str | None]]:
    return [(word.text, word.voice) for word in line]


def _shown_before(before: Sequence[Words], now: Sequence[Words]) -> tuple[int, int]:
    """How many lines of a cue the one before showed at its end, and how many words of the line after those."""
    old, new = [_said(line) for line in before], [_said(line) for line in now]
    most = range(min(len(old), len(new)), 0, -1)
    for count in most:
        if old[-count:] == new[:count]:
            return count, 0
    for count in most:
        last = old[-1]
        if old[-count:-1] == new[: count - 1] and new[count - 1][: len(last)] == last:
            return count - 1, len(last)
    return 0, 0


def _new_words(passages: Sequence[Passage]) -> list[Passage]:
    found: list[Passage] = []
    screen: Sequence[Words] = ()
    until = 0.0
    for passage in passages:
        screen = screen if passage.start - until <= GAP else ()
        whole, begun = _shown_before(screen, passage.lines)
        lines = passage.lines[whole:]
        if begun:  # a line grows: its new words begin with the cue
            more = lines[0][begun:]
            grown = (*found[-1].lines[-1], replace(more[0], at=passage.start), *more[1:])
            found[-1] = replace(found[-1], end=passage.end, lines=(*found[-1].lines[:-1], grown))
            lines = lines[1:]
        if lines:
            found.append(replace(passage, lines=lines))
        elif whole and not any(word.at is not None for word in found[-1].words):
            found[-1] = replace(found[-1], end=max(found[-1].end, passage.end))
        screen, until = passage.lines, max(until, passage.end)
    return _one_after_the_other(found)


def _one_after_the_other(passages: Sequence[Passage]) -> list[Passage]:
    """Passages that end where the next one begins, if not before."""
    ends = [b.start if b.start > a.start else a.end for a, b in pairwise(passages)]
    return [
        replace(passage, end=min(passage.end, end))
        for passage, end in zip(passages, [*ends, float("inf")], strict=True)
    ]


def punctuated(words: Sequence[Word]) -> bool:
    """Whether a text has full stops, as captions made by machines often do not."""
    stops = sum(_ends(word) for word in words)
    return stops > 0 and stops * SENTENCE >= len(words)


def _ends(word: Word) -> bool:
    initial = len(word.text) == 2 and word.text[0].isupper()
    return ended(word.text) and not initial and word.text.lower() not in _ABBREVIATIONS


def sentences(passages: Sequence[Passage]) -> list[Passage]:
    """Passages of a sentence each, where there are full stops; a sentence ends at pauses and speakers, too."""
    if not punctuated([word for passage in passages for word in passage.words]):
        return list(passages)
    found: list[Passage] = []
    words: list[Word] = []
    start = until = 0.0
    for passage in passages:
        text = text_of(passage.words)
        alone = is_aside(text)
        apart = passage.start - until > PAUSE or until - start > LONGEST or label_of(text) is not None
        if words and (alone or apart):
            found.append(_sentence(start, until, words))
            words = []
        times = begins(passage.words, passage.start, passage.end)
        for word, at, end in zip(passage.words, times, [*times[1:], passage.end], strict=True):
            start = start if words else at
            # Between known times others are found again, without the marks and names that turns leave out.
            known = word.at is not None or word is passage.words[0]
            words.append(replace(word, at=at) if known else word)
            if _ends(word) and not alone:
                found.append(_sentence(start, end, words))
                words = []
        until = passage.end
        if alone:
            found.append(_sentence(passage.start, passage.end, words))
            words = []
    return [*found, _sentence(start, until, words)] if words else found


def _sentence(start: float, end: float, words: Sequence[Word]) -> Passage:
    line: Words = tuple(words)
    return Passage(start, end, (line,))
