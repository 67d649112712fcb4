"""Build the window of utterances that Cues reads, and its words: `<s> [s1] utterance [s2] utterance ... </s>`.

Source: docs/papers/cues.md, sections 3.1 and 3.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ercache.nets.roberta import LIMIT, SPEAKERS
from extract.text.dialogue_context import SpecialTokens
from extract.text.kwrt.words import TaggedWord


@dataclass(frozen=True)
class TokenizedUtterance:
    """A tokenized utterance of a window.

    Attributes:
        speaker: name of the speaker.
        ids: token ids of the T tokens.
        spans: characters of the text that each token covers, [T, 2].
        words: words of the utterance.
    """

    speaker: str
    ids: tuple[int, ...]
    spans: NDArray[np.int32]
    words: tuple[TaggedWord, ...]


@dataclass(frozen=True)
class UtteranceWindow:
    """A window of utterances: the tokens for the network and the words for the word matrix.

    Attributes:
        ids: token ids, with `<s>`, a speaker token before each utterance, and `</s>`.
        words: all K words in order. A window without words has one empty function word at the token `<s>`.
        places: for each word the index of its first token, the index after its last token, and its utterance (0 for the
            current one, -1 for the previous one), [K, 3].
    """

    ids: tuple[int, ...]
    words: tuple[TaggedWord, ...]
    places: NDArray[np.int32]


def build_window(
    turns: Sequence[TokenizedUtterance],
    current: int,
    first_speaker: int,
    marks: SpecialTokens,
    limit: int = LIMIT,
    next_speaker: str | None = None,
) -> UtteranceWindow:
    """Join utterances to a window. Speakers are numbered in the order in which they appear.

    If the window is too long, complete utterances are removed, first the oldest, then the latest. If the current
    utterance alone is too long, its end is cut off.

    Args:
        turns: the utterances in order.
        current: index of the current utterance.
        first_speaker: id of the token `[s1]`; the tenth speaker's token stands for all further speakers.
        marks: ids of the special tokens.
        limit: largest number of tokens.
        next_speaker: who speaks next; the window ends with the token of this speaker. None if it is not known.
    """
    after = [] if next_speaker is None else [next_speaker]
    turns, current = _fitting(list(turns), current, limit - 2 - len(after))
    names = list(dict.fromkeys([turn.speaker for turn in turns] + after))
    ids = [marks.start]
    words: list[TaggedWord] = []
    places: list[tuple[int, int, int]] = []
    for number, turn in enumerate(turns):
        ids.append(_token(turn.speaker, names, first_speaker))
        for word in turn.words:
            owned = tokens_of_word(word, turn.spans)
            if owned is not None:
                words.append(word)
                places.append((len(ids) + owned.start, len(ids) + owned.stop, number - current))
        ids += turn.ids
    ids += [*(_token(name, names, first_speaker) for name in after), marks.end]
    if not words:
        words, places = [TaggedWord(0, 0, "", "", False)], [(0, 1, 0)]
    return UtteranceWindow(tuple(ids), tuple(words), np.array(places, dtype=np.int32).reshape(-1, 3))


def _token(speaker: str, names: Sequence[str], first_speaker: int) -> int:
    return first_speaker + min(names.index(speaker), SPEAKERS - 1)


def tokens_of_word(word: TaggedWord, spans: NDArray[np.int32]) -> slice | None:
    """Return which tokens overlap a word, as a slice; None if all of them were cut off.

    A token may belong to two words.
    """
    overlap = np.flatnonzero((spans[:, 0] < word.end) & (spans[:, 1] > word.start))
    return slice(int(overlap[0]), int(overlap[-1]) + 1) if len(overlap) else None


def _fitting(
    turns: list[TokenizedUtterance], current: int, room: int
) -> tuple[list[TokenizedUtterance], int]:
    while sum(len(turn.ids) + 1 for turn in turns) > room and len(turns) > 1:
        if current:
            turns, current = turns[1:], current - 1
        else:
            turns = turns[:-1]
    turns[current] = _cut(turns[current], room - 1)
    return turns, current


def _cut(turn: TokenizedUtterance, most: int) -> TokenizedUtterance:
    return TokenizedUtterance(turn.speaker, turn.ids[:most], turn.spans[:most], turn.words)


def tokenize_utterance(
    text: str,
    speaker: str | None,
    encode: Callable[[str], tuple[tuple[int, ...], NDArray[np.int32]]],
    tag: Callable[[str], Sequence[TaggedWord]],
) -> TokenizedUtterance:
    """Tokenize an utterance and find its words.

    Args:
        text: the transcript.
        speaker: name of the speaker.
        encode: returns the token ids of a text, without special tokens, and the characters that each token covers.
        tag: returns the words of a text.
    """
    # As everywhere inside a RoBERTa text, the blank before the first word is part of its token.
    ids, spans = encode(f" {text}") if text else ((), np.zeros((0, 2), np.int32))
    return TokenizedUtterance(speaker or "", ids, np.maximum(spans - 1, 0), tuple(tag(text)))
