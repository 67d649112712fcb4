"""Utterances and their neighbours as token ids: extraction and the training of `text/m2fnet-roberta` both read here."""

from functools import lru_cache
from typing import TYPE_CHECKING

from extract.encoders.base import Sample, Turn
from extract.encoders.text.tokenization import marks_of
from extract.text.dialogue_context import InContext, Names, in_context, spoken
from extract.text.normalise import tidy

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


class TurnReader:
    """What a RoBERTa gets of an utterance.

    Args:
        names: what precedes each turn, see `extract.text.dialogue_context.name_of`.
        events: keep tags such as [LAUGHTER].
        past, future: whether that side is read; one that is not leaves no separator.

    Raises:
        WeightsError: the tokenizer is not that of a RoBERTa.
    """

    def __init__(self, tokenizer: "Tokenizer", names: Names, events: bool, past: bool, future: bool) -> None:
        self._tokenizer, self._names, self._events = tokenizer, names, events
        self._past, self._future = past, future
        self._marks = marks_of(tokenizer)
        self._ids = lru_cache(100_000)(self._encode)  # a turn stands in the windows of all its neighbours

    def readable(self, sample: Sample) -> bool:
        """Whether the utterance has a visible character."""
        return bool(tidy(sample.text, self._events))

    def sequence(self, sample: Sample) -> InContext:
        """The utterance among as many of its neighbours as find room."""
        past = [self._spoken(turn) for turn in sample.before] if self._past else None
        future = [self._spoken(turn) for turn in sample.after] if self._future else None
        return in_context(past, self._spoken(sample), future, self._ids, self._marks)

    def encoding(self, sample: Sample) -> "Encoding":
        """The utterance alone with its speaker's name, without marks."""
        return self._tokenizer.encode(self._spoken(sample), add_special_tokens=False)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _spoken(self, turn: Sample | Turn) -> str:
        return spoken(tidy(turn.text, self._events), turn.speaker, self._names)
