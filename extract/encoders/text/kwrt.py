"""Knowledge-based word relation tagging of Cues: token states of a window of utterances, and which words matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.nets.roberta import BASE, from_checkpoint, speaker_rows
from ercache.nets.text_shapes import Shape
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights, checked_files
from extract.encoders.base import ALL, Encoded, EncoderSpec, Input, Sample, Turn
from extract.encoders.text.tokenization import finite, hidden_states, marks_of, open_tokenizer, places
from extract.media.types import FloatArray
from extract.text.kwrt.conceptnet import CONCEPTNET
from extract.text.kwrt.knowledge import LETTERS, OWN, read_knowledge
from extract.text.kwrt.matrix import importance
from extract.text.kwrt.window import Said, Window, said, window_of
from extract.text.kwrt.words import Tagger, tagger
from extract.text.normalise import plain, tidy


class KwrtParams(Strict):
    """Switches of `text/kwrt`.

    Attributes:
        utterances: of the window with the current one, `all` for the whole history; the oldest go where 512 tokens
            do not hold them.
        future: utterances after the current one.
        knowledge: `own` knows a few hundred everyday words; `conceptnet` is the paper's, once its dump was brought
            (`ercache weights convert conceptnet FILE`).
        tagger: `rules` (our list of function words, simplemma's lemmas) or `spacy` (en_core_web_sm).
        relations: which count: IsA (I), HasContext (H), Causes (C).
        known_next_speaker: end the window with the token of who speaks next, for prediction.
    """

    utterances: Annotated[int, Field(ge=1)] | Literal["all"] = 3
    future: int = Field(0, ge=0)
    knowledge: Literal["own", "conceptnet"] = "own"
    tagger: Tagger = "rules"
    relations: str = Field(LETTERS, pattern="^I?H?C?$")
    # Left out where it is false, so that features made before there was a choice stay what they are.
    known_next_speaker: bool = Field(False, exclude_if=lambda known: not known)

    @property
    def beside(self) -> tuple[str, ...]:
        """Checkpoints that decide the values besides the network's."""
        return (CONCEPTNET,) if self.knowledge == "conceptnet" else ()


@dataclass(frozen=True)
class KwrtKind:
    """The key; `shape` of its RoBERTa."""

    spec: EncoderSpec
    shape: Shape = BASE
    Params: type[BaseModel] = KwrtParams

    def input(self, params: KwrtParams) -> Input:
        """The transcripts of the window, and who says each."""
        past = ALL if params.utterances == "all" else params.utterances - 1
        speaker: Literal[True, "next"] = "next" if params.known_next_speaker else True
        return Input(text=True, speaker=speaker, past=past, future=params.future)

    def arrays(self, params: KwrtParams) -> tuple[ArraySpec, ...]:
        """States and ids of the window's tokens, its words, and their matrix row by row.

        `words` has a word's first token, the one after its last, and its utterance (0 the current one, -1 the one
        before it); a window without words has `<s>` in their place. `matrix` has size x size numbers. Ids from
        RoBERTa's vocabulary on are the speakers' tokens.
        """
        width = (self.shape.width,)
        return (
            ArraySpec("pooled", "vector", ("utterance", "dimension"), width),
            ArraySpec("tokens", "sequence", ("token", "dimension"), width),
            ArraySpec("ids", "sequence", ("token",), (), "int32"),
            ArraySpec("words", "sequence", ("word", "first_end_utterance"), (3,), "int32"),
            ArraySpec("matrix", "sequence", ("word_pair",), (), "uint8"),
            ArraySpec("size", "sequence", ("window",), (), "int32", "words"),
        )

    def __call__(self, params: KwrtParams, device: str = "cpu", weights: Weights | None = None) -> "Kwrt":
        """Build the encoder.

        Raises:
            WeightsError: the checkpoint is absent, damaged or another network's; the tagger is not installed;
                ConceptNet was not brought.
        """
        return Kwrt(self.shape, params, device, weights or Weights(str(self.spec.weights)))


class Kwrt:
    """Frozen RoBERTa with a token for each of ten speakers; `pooled` is the state of `<s>`.

    An utterance that is nothing but a tag such as [LAUGHTER] has no words of its own, only the window's.
    `frames` is the number of tokens.
    """

    def __init__(self, shape: Shape, params: KwrtParams, device: str, weights: Weights) -> None:
        self.params, self.device = params, device
        self._tokenizer = open_tokenizer(weights)
        network: Any = from_checkpoint(weights, shape, self._tokenizer)
        self._first_speaker = add_speakers(network)
        self._network = network.to(device)
        self._marks = marks_of(self._tokenizer)
        self._tag = tagger(params.tagger)
        relations = OWN if params.knowledge == "own" else checked_files(CONCEPTNET)["relations.tsv"]
        self._knowledge = read_knowledge(relations)
        self._said = lru_cache(100_000)(self._turn)  # an utterance stands in the windows of its neighbours

    def length(self, sample: Sample) -> int:
        """Tokens of the window."""
        return len(self._window(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode windows in one padded batch; an utterance without a visible character is missing."""
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        rows = [n for n, sample in enumerate(samples) if tidy(sample.text)]
        if rows:
            windows = [self._window(samples[n]) for n in rows]
            states = hidden_states(self._network, [window.ids for window in windows], self.device)
            for n, window, state in zip(rows, windows, states, strict=True):
                results[n] = self._result(window, state)
        return results

    def _turn(self, text: str | None, speaker: str | None) -> Said:
        return said(plain(tidy(text, events=False)), speaker, self._pieces, self._tag)

    def _pieces(self, text: str) -> tuple[tuple[int, ...], Any]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return tuple(encoding.ids), places(encoding)

    def _window(self, sample: Sample) -> Window:
        turns: list[Sample | Turn] = [*sample.before, sample, *sample.after]
        texts = [self._said(turn.text, turn.speaker) for turn in turns]
        return window_of(
            texts, len(sample.before), self._first_speaker, self._marks, follows=sample.next_speaker
        )

    def _result(self, window: Window, state: FloatArray) -> Encoded | Missing:
        matrix = importance(window.words, self._knowledge, self.params.relations)
        arrays: dict[str, Any] = {
            "pooled": state[:1],
            "tokens": state,
            "ids": np.array(window.ids, dtype=np.int32),
            "words": window.places,
            "matrix": matrix.reshape(-1),
            "size": np.array([len(matrix)], dtype=np.int32),
        }
        if not finite(arrays):
            return Missing(Reason.FAULT, "the network's states are not finite")
        return Encoded(arrays, frames=len(state))


def add_speakers(network: Any) -> int:
    """Give a RoBERTa rows for ten speakers, near the mean of all rows; returns the id of the first."""
    import torch

    table = network.embeddings.word_embeddings
    old = table.weight.detach()
    rows = torch.cat([old, speaker_rows(old)])
    network.embeddings.word_embeddings = torch.nn.Embedding(
        rows.shape[0], rows.shape[1], padding_idx=table.padding_idx, _weight=rows
    )
    return len(old)


ENTRY: Final = KwrtKind(
    EncoderSpec(
        key="text/kwrt",
        modality="text",
        summary="token states of a window of utterances, and how much its pairs of words matter",
        batch="mask",
        version=1,
        licence="MIT",
        weights="roberta-base",
        paper="Cues (arXiv 2408.04547)",
    )
)
