"""Turn an utterance and its neighbours into the token ids that a RoBERTa reads, in extraction and in training alike."""

from functools import lru_cache
from typing import TYPE_CHECKING

from extract.encoders.base import Neighbour, Sample
from extract.encoders.text.tokenization import special_tokens
from extract.text.dialogue_context import ContextSequence, NameStyle, context_sequence, with_speaker
from extract.text.normalise import tidy

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


class TurnReader:
    """Builds the input of a RoBERTa from an utterance and its neighbours in the dialogue.

    Args:
        tokenizer: tokenizer of the RoBERTa.
        names: what is written before each utterance: `first` writes the speaker's name; `sex` writes the speaker's sex
            in IEMOCAP, and the name in other corpora; `none` writes nothing.
        events: whether tags such as [LAUGHTER] stay in the text.
        past, future: whether earlier and whether later utterances are read; if not, their separator tokens are absent.

    Raises:
        WeightsError: the tokenizer does not belong to a RoBERTa.
    """

    def __init__(
        self, tokenizer: "Tokenizer", names: NameStyle, events: bool, past: bool, future: bool
    ) -> None:
        self._tokenizer, self._names, self._events = tokenizer, names, events
        self._past, self._future = past, future
        self._marks = special_tokens(tokenizer)
        self._ids = lru_cache(100_000)(self._encode)  # a turn is in the windows of all its neighbours

    def has_text(self, sample: Sample) -> bool:
        """Return whether the transcript of the utterance has a visible character, so that it can be encoded."""
        return bool(tidy(sample.text, self._events))

    def sequence(self, sample: Sample) -> ContextSequence:
        """Return the token ids of an utterance, with as many neighbours in the dialogue as fit into the network."""
        past = [self._with_speaker(turn) for turn in sample.before] if self._past else None
        future = [self._with_speaker(turn) for turn in sample.after] if self._future else None
        return context_sequence(past, self._with_speaker(sample), future, self._ids, self._marks)

    def encoding(self, sample: Sample) -> "Encoding":
        """Return the tokens of the speaker's name and the utterance alone, without neighbours and special tokens."""
        return self._tokenizer.encode(self._with_speaker(sample), add_special_tokens=False)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _with_speaker(self, turn: Sample | Neighbour) -> str:
        return with_speaker(tidy(turn.text, self._events), turn.speaker, self._names)
