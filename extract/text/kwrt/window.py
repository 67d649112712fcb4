"""The window of utterances that Cues reads: `<s> [s1] utterance [s2] utterance ... </s>` and its words (3.1, 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ercache.nets.roberta import LIMIT, SPEAKERS
from extract.text.dialogue_context import Marks
from extract.text.kwrt.words import Word


@dataclass(frozen=True)
class Said:
    """An utterance of a window.

    Attributes:
        ids: its tokens.
        stretches: characters that each covers, [T, 2].
        words: its words, by character.
    """

    speaker: str
    ids: tuple[int, ...]
    stretches: NDArray[np.int32]
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Window:
    """What the network and the matrix get.

    Attributes:
        ids: token ids, with `<s>`, a speaker before each utterance and `</s>`.
        words: all words, in order; where there is none, an empty function word at `<s>` takes their place.
        places: for each word its first token, the one after its last, and its utterance: 0 for the current one,
            -1 for the one before it, [K, 3].
    """

    ids: tuple[int, ...]
    words: tuple[Word, ...]
    places: NDArray[np.int32]


def window_of(
    turns: Sequence[Said],
    current: int,
    first_speaker: int,
    marks: Marks,
    limit: int = LIMIT,
    follows: str | None = None,
) -> Window:
    """Join the utterances of a window, numbering speakers by first appearance in it.

    What does not fit goes as whole utterances, the oldest first, then the latest; the current one loses its end.

    Args:
        current: which of the turns is the current one.
        first_speaker: id of `[s1]`; the tenth speaker's token stands for all further ones.
        follows: who speaks next, whose token ends the window; None where that is not known.
    """
    after = [] if follows is None else [follows]
    turns, current = _fitting(list(turns), current, limit - 2 - len(after))
    names = list(dict.fromkeys([turn.speaker for turn in turns] + after))
    ids = [marks.start]
    words: list[Word] = []
    places: list[tuple[int, int, int]] = []
    for number, turn in enumerate(turns):
        ids.append(_token(turn.speaker, names, first_speaker))
        for word in turn.words:
            owned = pieces_of(word, turn.stretches)
            if owned is not None:
                words.append(word)
                places.append((len(ids) + owned.start, len(ids) + owned.stop, number - current))
        ids += turn.ids
    ids += [*(_token(name, names, first_speaker) for name in after), marks.end]
    if not words:
        words, places = [Word(0, 0, "", "", False)], [(0, 1, 0)]
    return Window(tuple(ids), tuple(words), np.array(places, dtype=np.int32).reshape(-1, 3))


def _token(speaker: str, names: Sequence[str], first_speaker: int) -> int:
    return first_speaker + min(names.index(speaker), SPEAKERS - 1)


def pieces_of(word: Word, stretches: NDArray[np.int32]) -> slice | None:
    """The tokens that overlap a word, also those that it shares with another; None where all were cut."""
    overlap = np.flatnonzero((stretches[:, 0] < word.end) & (stretches[:, 1] > word.start))
    return slice(int(overlap[0]), int(overlap[-1]) + 1) if len(overlap) else None


def _fitting(turns: list[Said], current: int, room: int) -> tuple[list[Said], int]:
    while sum(len(turn.ids) + 1 for turn in turns) > room and len(turns) > 1:
        if current:
            turns, current = turns[1:], current - 1
        else:
            turns = turns[:-1]
    turns[current] = _cut(turns[current], room - 1)
    return turns, current


def _cut(turn: Said, most: int) -> Said:
    return Said(turn.speaker, turn.ids[:most], turn.stretches[:most], turn.words)


def said(
    text: str,
    speaker: str | None,
    encode: Callable[[str], tuple[tuple[int, ...], NDArray[np.int32]]],
    tag: Callable[[str], Sequence[Word]],
) -> Said:
    """An utterance ready for a window.

    Args:
        encode: ids of a text's tokens and the characters that each covers, without marks.
        tag: words of a text.
    """
    # the blank before the first word is part of its token, as everywhere inside a text of RoBERTa's
    ids, stretches = encode(f" {text}") if text else ((), np.zeros((0, 2), np.int32))
    return Said(speaker or "", ids, np.maximum(stretches - 1, 0), tuple(tag(text)))
