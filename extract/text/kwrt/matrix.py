"""Word relation tagging: give points to each pair of words in a dialogue, more points for closer relations.

Source: docs/papers/cues.md, section 4.2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.text.kwrt.knowledge import LETTERS, Knowledge
from extract.text.kwrt.words import TaggedWord


def relation_tag(a: TaggedWord, b: TaggedWord, knowledge: Knowledge, relations: str = LETTERS) -> str:
    """Return a tag that says how two words are related, such as `0/IH`.

    The digit is 1 if both are the same content word, else 0. The letters are the relations of two different content
    words: I (IsA), H (HasContext), C (Causes), or N for none. A word is looked up by its lemma if `knowledge` contains
    the lemma, otherwise as it is written.
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
    """Return how many points each pair of K words gets, [K, K]; the words come from successive utterances.

    Two occurrences of the same content word get 1 point; two different content words get 1 point for each relation
    between them; all other pairs get 0. The matrix is `M = M_rec + M_rel` of the paper, symmetric with zero diagonal.

    Args:
        words: the K words, in order.
        knowledge: table of related words.
        relations: letters of the relations that give points: I (IsA), H (HasContext), C (Causes).
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
