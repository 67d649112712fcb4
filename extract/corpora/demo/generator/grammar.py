"""Generate the transcripts of the demo corpus: different sentences that show a given emotion."""

import re
from itertools import product
from random import Random

from extract.corpora.demo.generator.channels import EMOTIONS, Emotion
from extract.corpora.demo.generator.phrases import PATTERNS, SLOTS

_SLOT = re.compile(r"\{(\w+)\}")


def _fill(pattern: str, words: tuple[str, ...]) -> str:
    queue = iter(words)
    sentence = _SLOT.sub(lambda _: next(queue), pattern)
    # A slot may open a sentence, also after a question mark.
    return re.sub(r"(^|[?!] )([a-z])", lambda m: m[1] + m[2].upper(), sentence).replace("'", "’")


def expansions(pattern: str) -> list[str]:
    """Return all sentences of a sentence pattern: each `{slot}` is filled with each of its entries in `SLOTS`."""
    return [_fill(pattern, words) for words in product(*(SLOTS[name] for name in _SLOT.findall(pattern)))]


def sentences(emotion: Emotion) -> list[str]:
    """Return every sentence that the grammar can generate for an emotion."""
    return [sentence for pattern in PATTERNS[emotion] for sentence in expansions(pattern)]


class Author:
    """Chooses random sentences for the demo corpus.

    A sentence is repeated only after all sentences of its emotion have been used.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(f"grammar/{seed}")
        self._left: dict[str, list[str]] = {}

    def write(self, emotion: int) -> str:
        """Return a new sentence that shows an emotion, which is given by its index."""
        patterns = PATTERNS[EMOTIONS[emotion]]
        fresh = [p for p in patterns if self._left.get(p) != []] or list(patterns)
        pattern = fresh[int(self._random.random() * len(fresh))]
        left = self._left.get(pattern) or expansions(pattern)
        sentence = left.pop(int(self._random.random() * len(left)))
        self._left[pattern] = left
        return sentence
