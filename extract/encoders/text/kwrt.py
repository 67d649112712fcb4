"""Knowledge-based word relation tagging (KWRT) of Cues.

It gives the token states of a window of utterances, and a matrix that says which pairs of words matter.
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
        utterances: number of utterances in the window including the current one, or `all` for the whole history; the
            oldest are removed if the window exceeds 512 tokens.
        future: number of utterances after the current one.
        knowledge: source of word relations: `own` has a few hundred everyday words; `conceptnet` is that of the paper
            and needs `ercache weights convert conceptnet FILE` once.
        tagger: how words are classified: `rules` (ercache's list of function words, simplemma's lemmas) or `spacy`
            (en_core_web_sm).
        relations: the relations that are used: IsA (I), HasContext (H), Causes (C).
        known_next_speaker: end the window with the token of the next speaker, for prediction.
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
        """Keys of checkpoints that the feature needs besides RoBERTa: ConceptNet's, if `knowledge` is `conceptnet`."""
        return (CONCEPTNET,) if self.knowledge == "conceptnet" else ()


@dataclass(frozen=True)
class KwrtKind:
    """The registry entry of `text/kwrt`; `shape` is the size of the RoBERTa network."""

    spec: EncoderSpec
    shape: Shape = BASE
    Params: type[BaseModel] = KwrtParams

    def input(self, params: KwrtParams) -> Input:
        """Return the input that the encoder needs: transcripts and speakers of all utterances in the window."""
        past = WHOLE_DIALOGUE if params.utterances == "all" else params.utterances - 1
        speaker: Literal[True, "next"] = "next" if params.known_next_speaker else True
        return Input(text=True, speaker=speaker, past=past, future=params.future)

    def arrays(self, params: KwrtParams) -> tuple[ArraySpec, ...]:
        """Declare six arrays of a window of utterances: `pooled`, `tokens`, `ids`, `words`, `matrix` and `size`.

        `pooled` is the state of `<s>`. `tokens` has the state of each token, `ids` the token ids; ids beyond RoBERTa's
        vocabulary are speaker tokens. Each row of `words` describes a word: index of its first token, index after its
        last token, and its utterance (0 for the current one, -1 for the previous one). A window without words has one
        row, for the token `<s>`. `matrix` has one value per pair of words, row by row: `size` x `size` values.
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
            WeightsError: the checkpoint is absent, damaged or belongs to another network; or the tagger is not
                installed; or ConceptNet has not been converted.
        """
        return Kwrt(self.shape, params, device, weights or Weights(str(self.spec.weights)))


class Kwrt:
    """Runs a window of utterances through a frozen RoBERTa and finds the related words in it.

    The vocabulary has an extra token for each of ten speakers. `pooled` is the state of the token `<s>`. A tag such as
    [LAUGHTER] is removed, so an utterance of tags alone adds no words to the window. `Encoded.frames` is the number of
    tokens.
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
        """Return the number of tokens in the window of utterances. Batches are formed by this length."""
        return len(self._window(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run all windows through RoBERTa in one padded batch, and compute the word matrix of each window.

        The feature of an utterance without a visible character is missing.
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
    """Add ten speaker tokens to a RoBERTa and return the id of the first one.

    Their embeddings lie near the mean of all token embeddings.
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
