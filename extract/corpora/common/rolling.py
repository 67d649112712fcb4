"""Remove the repetitions from rolling captions, as YouTube and television show them.

In such subtitle files the same sentence appears in several successive cues. Typical styles:

- Two lines: the lower line shows the sentence that is being spoken, often with a time for each word. In the next cues
  this sentence moves to the upper line, and a new sentence appears below it.
- Underlining: the sentence is repeated in one cue per word, and each cue underlines another word.
- Growing: each cue shows the sentence with one more word.

From each cue only the new words are kept; they last from the start of this cue to the start of the next one. If the
captions have full stops, the words are joined to sentences. Otherwise words that appear together stay together.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from extract.corpora.common.asides import is_aside
from extract.corpora.common.cue_files import RawCue
from extract.corpora.common.cue_text import CueLine, CueWord, Passage, join_words, word_starts
from extract.corpora.common.speakers import ends_sentence, speaker_label

MAX_GAP_SECONDS: Final = 0.1  # after a longer pause between cues, the screen counts as empty
PAUSE_SECONDS: Final = 2.0  # a pause between cues that ends a sentence
MAX_SENTENCE_SECONDS: Final = 20.0  # a longer sentence ends at the end of a cue
MAX_WORDS_PER_STOP: Final = 40  # with fewer full stops than one per so many words, there is no punctuation
MIN_OVERLAPPING_CUES: Final = 4  # overlaps in fewer cues may be accidental
_ABBREVIATIONS: Final = frozenset(
    ["mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "etc.", "e.g.", "i.e."]
)


def unroll(raw_cues: Sequence[RawCue], passages: Sequence[Passage]) -> list[Passage] | None:
    """Remove the repetitions from rolling captions.

    Args:
        raw_cues: cues in order of time.
        passages: for each cue its words, lines and times.

    Returns:
        Passages without repetitions, one per sentence if the captions have full stops. None if the captions neither
        roll nor overlap in time.
    """
    if _rolls(raw_cues, passages):
        return sentences(_new_words(passages))
    return sentences(_one_after_the_other(passages)) if _overlaps(passages) else None


def _rolls(raw_cues: Sequence[RawCue], passages: Sequence[Passage]) -> bool:
    """Return whether captions roll: at least one cue in four repeats lines or words of the cue before.

    Single repetitions do not count, because two people may both say `No.`.
    """
    scrolled = grown = 0
    for (cue, before), (later, now) in pairwise(zip(raw_cues, passages, strict=True)):
        if now.start - before.end <= MAX_GAP_SECONDS:
            whole, begun = _shown_before(before.lines, now.lines)
            marked = len(now.words) > 1 and _written(cue) != _written(
                later
            )  # only the underlined word differs
            scrolled += whole > 0 and (whole < len(now.lines) or marked)
            grown += not whole and begun > 0
    return scrolled + (grown if grown > 1 else 0) >= max(1, (len(raw_cues) - 1) / 4)


def _overlaps(passages: Sequence[Passage]) -> bool:
    """Return whether most cues stay on screen until the cue after the next one, as on a display with two lines."""
    pairs = list(pairwise(passages))
    late = sum(a.start < b.start < a.end <= b.end for a, b in pairs)
    apart = all(b.start >= a.end - MAX_GAP_SECONDS for a, b in zip(passages, passages[2:], strict=False))
    return len(passages) >= MIN_OVERLAPPING_CUES and late >= 0.75 * len(pairs) and apart


def _written(cue: RawCue) -> list[str]:
    return [line.strip() for line in cue.lines if line.strip()]


def _said(line: CueLine) -> list[tuple[str, str | None]]:
    return [(word.text, word.voice) for word in line]


def _shown_before(before: Sequence[CueLine], now: Sequence[CueLine]) -> tuple[int, int]:
    """Return how much of a cue the previous cue has already shown.

    Args:
        before: lines of the previous cue.
        now: lines of the cue.

    Returns:
        Two numbers: how many lines of the cue were shown completely, and how many words of the line after these.
    """
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
    screen: Sequence[CueLine] = ()
    until = 0.0
    for passage in passages:
        screen = screen if passage.start - until <= MAX_GAP_SECONDS else ()
        whole, begun = _shown_before(screen, passage.lines)
        lines = passage.lines[whole:]
        if begun:  # a line grows: its new words start with the cue
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
    """Shorten passages that overlap: each ends at the latest where the next one begins."""
    ends = [b.start if b.start > a.start else a.end for a, b in pairwise(passages)]
    return [
        replace(passage, end=min(passage.end, end))
        for passage, end in zip(passages, [*ends, float("inf")], strict=True)
    ]


def is_punctuated(words: Sequence[CueWord]) -> bool:
    """Return whether words contain enough full stops to be divided into sentences.

    Automatic captions often have none.
    """
    stops = sum(_ends(word) for word in words)
    return stops > 0 and stops * MAX_WORDS_PER_STOP >= len(words)


def _ends(word: CueWord) -> bool:
    initial = len(word.text) == 2 and word.text[0].isupper()
    return ends_sentence(word.text) and not initial and word.text.lower() not in _ABBREVIATIONS


def sentences(passages: Sequence[Passage]) -> list[Passage]:
    """Join subtitle passages to sentences: one passage per sentence. Without full stops, return them unchanged.

    A sentence ends at a full stop, at a long pause, before a speaker's name, or when it has become too long.
    """
    if not is_punctuated([word for passage in passages for word in passage.words]):
        return list(passages)
    found: list[Passage] = []
    words: list[CueWord] = []
    start = until = 0.0
    for passage in (p for p in passages if p.words):
        text = join_words(passage.words)
        alone = is_aside(text)
        apart = (
            passage.start - until > PAUSE_SECONDS
            or until - start > MAX_SENTENCE_SECONDS
            or speaker_label(text) is not None
        )
        if words and (alone or apart):
            found.append(_sentence(start, until, words))
            words = []
        times = word_starts(passage.words, passage.start, passage.end)
        for word, at, end in zip(passage.words, times, [*times[1:], passage.end], strict=True):
            start = start if words else at
            # Other times are interpolated again later, without the marks and names that turns leave out.
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


def _sentence(start: float, end: float, words: Sequence[CueWord]) -> Passage:
    line: CueLine = tuple(words)
    return Passage(start, end, (line,))
