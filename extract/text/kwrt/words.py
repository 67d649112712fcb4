"""Split an utterance into words with lemmas, and tell content words from function words.

Source: docs/papers/cues.md, section 3.2.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from ercache.errors import WeightsError
from extract.text.kwrt.function_words import FUNCTION_WORDS

Tagger = Literal["rules", "spacy"]
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CLITIC: Final = re.compile(r"n['’]t$|['’][^\W\d_]+$")  # don't, Ross's, we'll
_CONTENT: Final = ("NOUN", "PROPN", "VERB", "ADJ", "ADV")
MODEL: Final = "en_core_web_sm"


@dataclass(frozen=True)
class TaggedWord:
    """A word of an utterance with its place, its lemma and its class (content word or function word).

    Attributes:
        start, end: indices of the word's first character and of the character after its last one.
        surface: the word as written, in lower case.
        lemma: dictionary form of the word, in lower case.
        content: whether it is a content word; all other words are function words.
    """

    start: int
    end: int
    surface: str
    lemma: str
    content: bool


def tagger(kind: Tagger) -> Callable[[str], list[TaggedWord]]:
    """Return a function that splits a text into words and finds their lemmas and classes.

    Args:
        kind: `rules` uses ercache's own simple rules, `spacy` uses spaCy.

    Raises:
        WeightsError: spaCy or its English model is not installed.
    """
    return words_by_rules if kind == "rules" else _spacy_words()


def words_by_rules(text: str) -> list[TaggedWord]:
    """Split a text into words without spaCy; a word consists of letters, and of apostrophes and hyphens between them.

    Words outside ercache's list of function words are content words. The package simplemma finds the lemma, after an
    ending such as `'s`, `'ll` or `n't` has been removed.
    """
    return [_word(*match.span(), match[0].lower()) for match in _WORD.finditer(text)]


def _word(start: int, end: int, surface: str) -> TaggedWord:
    stem = _CLITIC.sub("", surface)
    content = surface not in FUNCTION_WORDS and stem not in FUNCTION_WORDS
    return TaggedWord(start, end, surface, _lemma(stem), content)


@cache
def _lemma(word: str) -> str:
    from simplemma import lemmatize

    return lemmatize(word, lang="en").lower()


def _spacy_words() -> Callable[[str], list[TaggedWord]]:
    try:
        import spacy

        pipeline = spacy.load(MODEL, exclude=["ner", "parser"])
    except (ImportError, OSError) as error:
        raise WeightsError(
            f"text/kwrt: `tagger: spacy` needs spaCy and its model {MODEL}; one of them is not installed ({error})",
            hint="install spaCy and the model, or set `tagger: rules` in the feature's params in params.yaml",
        ) from error

    def words(text: str) -> list[TaggedWord]:
        return [
            TaggedWord(
                token.idx,
                token.idx + len(token.text),
                token.text.lower(),
                token.lemma_.lower(),
                token.pos_ in _CONTENT and not token.is_stop,
            )
            for token in pipeline(text)
            if not (token.is_space or token.is_punct)
        ]

    return words
