"""Build the text input of Cues: several successive utterances (a window), each after a token of its speaker.

The tokens are `<s> [s1] utterance [s2] utterance ... </s>`. The words of the utterances are listed beside them.

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
    """The tokens and the words of one utterance, before utterances are joined.

    Attributes:
        speaker: name of the speaker.
        ids: ids of the T tokens.
        spans: start and end (exclusive) of the characters of the text that each token covers, [T, 2].
        words: words of the utterance, with lemmas.
    """

    speaker: str
    ids: tuple[int, ...]
    spans: NDArray[np.int32]
    words: tuple[TaggedWord, ...]


@dataclass(frozen=True)
class UtteranceWindow:
    """Several successive utterances (a window): the tokens for the network, and the words for the word matrix.

    Attributes:
        ids: token ids, with `<s>`, a speaker token before each utterance, and `</s>`.
        words: all K words in order. If there are none, one empty function word stands at the token `<s>`.
        places: for each word the index of its first token, the index after its last token, and its utterance (0 is the
            current one, -1 the one before, 1 the one after), [K, 3].
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
    """Join successive utterances to one input of the network, with a speaker token before each utterance.

    The first speaker who appears gets the token `[s1]`, the second `[s2]`, and so on. If the input is too long, whole
    utterances are removed: first those before the current one, the oldest first, then those after it, the last first.
    If the current utterance alone is too long, its end is cut off.

    Args:
        turns: the utterances in order.
        current: index of the current utterance in `turns`.
        first_speaker: id of the token `[s1]`; the tenth speaker's token stands for all further speakers.
        marks: ids of the special tokens `<s>` and `</s>`.
        limit: largest number of tokens.
        next_speaker: name of the person who speaks next, whose token then ends the input; None for no such token.
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
    """Return the slice of the T tokens of an utterance that belong to a word; None if these tokens were cut off.

    A token may belong to two words. `spans` holds start and end (exclusive) of each token in the text, [T, 2].
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
    """Return the tokens and the words of one utterance.

    Args:
        text: transcript of the utterance.
        speaker: name of the speaker; None if it is unknown.
        encode: returns the token ids of a text, without special tokens, and the characters that each token covers.
        tag: returns the words of a text, with lemmas.
    """
    # As everywhere inside a RoBERTa text, the blank before the first word is part of its token.
    ids, spans = encode(f" {text}") if text else ((), np.zeros((0, 2), np.int32))
    return TokenizedUtterance(speaker or "", ids, np.maximum(spans - 1, 0), tuple(tag(text)))
