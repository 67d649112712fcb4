"""Word relation tagging: how important each pair of words of a window is (Cues, 4.2)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.text.kwrt.knowledge import LETTERS, Knowledge
from extract.text.kwrt.words import TaggedWord


def relation_tag(a: TaggedWord, b: TaggedWord, knowledge: Knowledge, relations: str = LETTERS) -> str:
    """Return `M_rec/letters` of two words of a window, such as `0/IH`; `N` for no letters, `0/N` with a function word.

    A repeated word gives `1/N`. Words are looked up by their lemma, or by their surface form if the lemma is unknown.
    """
    if not (a.content and b.content):
        return "0/N"
    if a.surface == b.surface:
        return "1/N"
    letters = knowledge.letters(_key(a, knowledge), _key(b, knowledge))
    return f"0/{''.join(letter for letter in letters if letter in relations) or 'N'}"


def importance(
    words: Sequence[TaggedWord], knowledge: Knowledge, relations: str = LETTERS
) -> NDArray[np.uint8]:
    """Return `M = M_rec + M_rel` of a window, symmetric with zero diagonal, [K, K].

    Args:
        words: words of the window.
        knowledge: relations between words.
        relations: which of IsA (I), HasContext (H) and Causes (C) count, one point each.
    """
    matrix = np.zeros((len(words), len(words)), dtype=np.uint8)
    content = [n for n, word in enumerate(words) if word.content]
    for rank, i in enumerate(content):
        for j in content[rank + 1 :]:
            matrix[i, j] = matrix[j, i] = _points(relation_tag(words[i], words[j], knowledge, relations))
    return matrix


def _points(tag: str) -> int:
    recurrence, _, letters = tag.partition("/")
    return int(recurrence) + len(letters.replace("N", ""))


def _key(word: TaggedWord, knowledge: Knowledge) -> str:
    return word.lemma if word.lemma in knowledge.terms else word.surface
