"""Word relation tagging: how important each pair of words in a window is (docs/papers/cues.md, section 4.2)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.text.kwrt.knowledge import LETTERS, Knowledge
from extract.text.kwrt.words import TaggedWord


def relation_tag(a: TaggedWord, b: TaggedWord, knowledge: Knowledge, relations: str = LETTERS) -> str:
    """Return the tag of two words, such as `0/IH`.

    Before the slash: 1 if both are the same content word, else 0. After it: the relations of two different content
    words, I (IsA), H (HasContext), C (Causes), or N for none. Words are looked up by their lemma, or as written if the
    lemma is unknown.
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
    """Return the points of each pair of a window's K words, [K, K].

    Two occurrences of the same content word get 1 point; two different content words get 1 point for each relation
    between them; all other pairs get 0. The matrix is `M = M_rec + M_rel` of the paper, symmetric with zero diagonal.

    Args:
        words: the K words of the window.
        knowledge: relations between words.
        relations: which of IsA (I), HasContext (H) and Causes (C) count.
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
