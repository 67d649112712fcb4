"""The text feature of the paper Cues: knowledge-based word relation tagging (KWRT).

For an utterance and some earlier ones (a window), it gives the states of all tokens in RoBERTa, and a matrix that says
how strongly each pair of words is related.
"""

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
from extract.encoders.base import WHOLE_DIALOGUE, Encoded, EncoderSpec, Input, Neighbour, Sample
from extract.encoders.text.tokenization import (
    all_finite,
    character_spans,
    hidden_states,
    open_tokenizer,
    special_tokens,
)
from extract.media.types import FloatArray
from extract.text.kwrt.conceptnet import CONCEPTNET
from extract.text.kwrt.knowledge import LETTERS, OWN, read_knowledge
from extract.text.kwrt.matrix import importance
from extract.text.kwrt.window import TokenizedUtterance, UtteranceWindow, build_window, tokenize_utterance
from extract.text.kwrt.words import Tagger, tagger
from extract.text.normalise import plain, tidy


class KwrtParams(Strict):
    """Parameters of `text/kwrt`.

    Attributes:
        utterances: number of utterances that are read together (the window): the current one and those before it; `all`
            for the whole dialogue so far. The oldest are removed if there are more than 512 tokens.
        future: number of utterances after the current one that are read too.
        knowledge: where word relations come from: `own` is a small table of everyday words; `conceptnet` is used by the
            paper, and needs `ercache weights convert conceptnet FILE` once.
        tagger: how words are found and classified: by `rules` (a list of function words, lemmas by simplemma) or by
            `spacy` (model en_core_web_sm).
        relations: letters of the relations that count: I (IsA), H (HasContext), C (Causes).
        known_next_speaker: whether the tokens end with that of the next speaker, to predict this person's emotion.
    """

    utterances: Annotated[int, Field(ge=1)] | Literal["all"] = 3
    future: int = Field(0, ge=0)
    knowledge: Literal["own", "conceptnet"] = "own"
    tagger: Tagger = "rules"
    relations: str = Field(LETTERS, pattern="^I?H?C?$")
    # Excluded if false, so that params (and keys) of features from before this option stay the same.
    known_next_speaker: bool = Field(False, exclude_if=lambda known: not known)

    @property
    def beside(self) -> tuple[str, ...]:
        """Keys of the files that this feature needs besides RoBERTa's checkpoint: (`conceptnet`,) or none.

        ConceptNet is needed if the param `knowledge` is `conceptnet`.
        """
        return (CONCEPTNET,) if self.knowledge == "conceptnet" else ()


@dataclass(frozen=True)
class KwrtKind:
    """The entry of `text/kwrt` in the encoder registry; `shape` is the size (layers, width ...) of its RoBERTa."""

    spec: EncoderSpec
    shape: Shape = BASE
    Params: type[BaseModel] = KwrtParams

    def input(self, params: KwrtParams) -> Input:
        """Declare which input the encoder needs: transcripts and speakers of the utterance and of its neighbours."""
        past = WHOLE_DIALOGUE if params.utterances == "all" else params.utterances - 1
        speaker: Literal[True, "next"] = "next" if params.known_next_speaker else True
        return Input(text=True, speaker=speaker, past=past, future=params.future)

    def arrays(self, params: KwrtParams) -> tuple[ArraySpec, ...]:
        """Declare six arrays: `pooled`, `tokens`, `ids`, `words`, `matrix` and `size`.

        They describe a window: the utterance and the neighbours that are read with it, T tokens and K words in total.
        `tokens` [T, width] holds the state of each token, `pooled` [1, width] that of `<s>`, and `ids` [T] the token
        ids; ids beyond RoBERTa's vocabulary are speaker tokens. `words` [K, 3] holds for each word the index of its
        first token, the index after its last token, and its utterance (0 is the current one, -1 the one before); if
        there are no words, it has one row for `<s>`. `matrix` [K * K] holds the points of all pairs of words, row by
        row, and `size` [1] the number K.
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
        """Load RoBERTa, its tokenizer and the word relations, and build the encoder on a device.

        Raises:
            WeightsError: the checkpoint is absent, damaged or belongs to another network; spaCy is requested but not
                installed; or ConceptNet is requested but not converted yet.
        """
        return Kwrt(self.shape, params, device, weights or Weights(str(self.spec.weights)))


class Kwrt:
    """Runs an utterance and its neighbours together through a frozen RoBERTa, and finds the related words in them.

    Ten speaker tokens are added to RoBERTa's vocabulary. Tags such as [LAUGHTER] are removed before. In the result,
    `frames` is the number of tokens.
    """

    def __init__(self, shape: Shape, params: KwrtParams, device: str, weights: Weights) -> None:
        self.params, self.device = params, device
        self._tokenizer = open_tokenizer(weights)
        network: Any = from_checkpoint(weights, shape, self._tokenizer)
        self._first_speaker = add_speakers(network)
        self._network = network.to(device)
        self._marks = special_tokens(self._tokenizer)
        self._tag = tagger(params.tagger)
        relations = OWN if params.knowledge == "own" else checked_files(CONCEPTNET)["relations.tsv"]
        self._knowledge = read_knowledge(relations)
        self._tokenized = lru_cache(100_000)(
            self._tokenize_turn
        )  # an utterance is in the windows of its neighbours

    def length(self, sample: Sample) -> int:
        """Return the number of tokens of the utterance with its neighbours; it serves to form batches."""
        return len(self._window(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run each utterance with its neighbours through RoBERTa, all in one padded batch, and relate their words.

        Returns:
            For each utterance, the arrays that `arrays` declares; a `Missing` if its transcript has no visible
            character.
        """
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        rows = [n for n, sample in enumerate(samples) if tidy(sample.text)]
        if rows:
            windows = [self._window(samples[n]) for n in rows]
            states = hidden_states(self._network, [window.ids for window in windows], self.device)
            for n, window, state in zip(rows, windows, states, strict=True):
                results[n] = self._result(window, state)
        return results

    def _tokenize_turn(self, text: str | None, speaker: str | None) -> TokenizedUtterance:
        return tokenize_utterance(plain(tidy(text, events=False)), speaker, self._encode_text, self._tag)

    def _encode_text(self, text: str) -> tuple[tuple[int, ...], Any]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return tuple(encoding.ids), character_spans(encoding)

    def _window(self, sample: Sample) -> UtteranceWindow:
        turns: list[Sample | Neighbour] = [*sample.before, sample, *sample.after]
        texts = [self._tokenized(turn.text, turn.speaker) for turn in turns]
        return build_window(
            texts, len(sample.before), self._first_speaker, self._marks, next_speaker=sample.next_speaker
        )

    def _result(self, window: UtteranceWindow, state: FloatArray) -> Encoded | Missing:
        matrix = importance(window.words, self._knowledge, self.params.relations)
        arrays: dict[str, Any] = {
            "pooled": state[:1],
            "tokens": state,
            "ids": np.array(window.ids, dtype=np.int32),
            "words": window.places,
            "matrix": matrix.reshape(-1),
            "size": np.array([len(matrix)], dtype=np.int32),
        }
        if not all_finite(arrays):
            return Missing(Reason.FAULT, "the network's states are not finite")
        return Encoded(arrays, frames=len(state))


def add_speakers(network: Any) -> int:
    """Add tokens for ten speakers to the vocabulary of a RoBERTa; return the id of the first of these tokens.

    The embeddings of the new tokens are close to the mean of all token embeddings.
    """
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
