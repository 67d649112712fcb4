"""Encoders of transcripts with MPNet: a vector for each word, as the paper AMuSE uses them, or one for the sentence.

Source: docs/papers/amuse.md, section 3.1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.nets.roberta import HEADS
from ercache.nets.text_shapes import Shape, shape_of
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, Encoder, EncoderSpec, Input, Sample
from extract.encoders.text.tokenization import (
    all_finite,
    character_spans,
    hidden_states,
    open_tokenizer,
    text_arrays,
)
from extract.media.types import FloatArray
from extract.text.normalise import tidy

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import nn

LIMIT: Final = 512  # number of tokens for which MPNet has positions
SENTENCE_LIMIT: Final = 384  # number of tokens with which all-mpnet-base-v2 was trained


FULL: Final = Shape(768, 12, 12, 3072, 30527)


def mpnet(shape: Shape) -> "nn.Module":
    """Build an MPNet of the given size, without weights and without its pooler, a layer that no feature uses."""
    from transformers.models.mpnet.configuration_mpnet import MPNetConfig
    from transformers.models.mpnet.modeling_mpnet import MPNetModel

    config = MPNetConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=LIMIT + 2,  # positions start after that of the padding
        layer_norm_eps=1e-5,
    )
    return MPNetModel(config, add_pooling_layer=False)


class WordParams(Strict):
    """Parameters of `text/mpnet`.

    Attributes:
        words: an utterance is cut after this many words.
        events: whether tags such as [LAUGHTER] stay in the text.
    """

    words: int = Field(128, ge=1)
    events: bool = True


class SentenceParams(Strict):
    """Parameters of `text/all-mpnet`.

    Attributes:
        tokens: also keep the state of every token and which characters of the text it covers.
        events: whether tags such as [LAUGHTER] stay in the text.
    """

    tokens: bool = True
    events: bool = True


@dataclass(frozen=True)
class MpnetKind:
    """An entry of the encoder registry for MPNet; `row` says whether the array `tokens` has words or tokens as rows."""

    spec: EncoderSpec
    Params: type[BaseModel]
    row: Literal["word", "token"]
    shape: Shape = FULL

    def input(self, params: Any) -> Input:
        """Declare which input the encoder needs: the transcript of the utterance."""
        return Input(text=True)

    def arrays(self, params: Any) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, 768], one vector per text; also `tokens` and `words`, unless the params exclude them.

        `tokens` [T, 768] holds a vector per word (`text/mpnet`) or per token (`text/all-mpnet`), `words` [T, 2] the
        characters that each of them covers: start and end (exclusive).
        """
        return text_arrays(self.shape.width, getattr(params, "tokens", True), self.row)

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Load the MPNet network and its tokenizer, and build the encoder on a device.

        Raises:
            WeightsError: the checkpoint is absent, damaged or belongs to another network.
        """
        handle = weights or Weights(str(self.spec.weights))
        shape = shape_of(handle, self.shape)
        network = handle.network(lambda: mpnet(shape), strip=("mpnet.",), drop=HEADS)
        return (Words if self.row == "word" else Sentences)(params, network, device, handle)


class Words:
    """Computes a vector for each word of an utterance with MPNet: the mean of the states of the word's tokens.

    Words are what blanks separate. `pooled` is the mean over the words. Text is cut after 512 tokens; later words get
    no vector. In the result, `frames` is the number of words.
    """

    def __init__(self, params: WordParams, network: "nn.Module", device: str, weights: Weights) -> None:
        self.params, self.device, self._network = params, device, network.to(device)
        self._tokenizer = open_tokenizer(weights)
        self._tokenizer.enable_truncation(LIMIT)

    def length(self, sample: Sample) -> int:
        """Return the number of tokens of the text, including `<s>` and `</s>`."""
        return len(self._tokens(sample)[1].ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run all transcripts through MPNet in one padded batch.

        Returns:
            For each transcript, the arrays that `arrays` declares; a `Missing` for one without any word.
        """
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        cuts = [self._tokens(sample) for sample in samples]
        rows = [n for n, (_, encoding) in enumerate(cuts) if len(encoding.ids) > 2]
        if rows:
            states = hidden_states(self._network, [cuts[n][1].ids for n in rows], self.device)
            for n, state in zip(rows, states, strict=True):
                spans, encoding = cuts[n]
                owners = [word for word in encoding.word_ids if word is not None]
                results[n] = word_vectors(state[1:-1], owners, spans)
        return results

    def _tokens(self, sample: Sample) -> tuple[NDArray[np.int32], "Encoding"]:
        """Return the start and the end (exclusive, in characters) of a transcript's K words, [K, 2], and its tokens."""
        text = tidy(sample.text, self.params.events)
        found = list(re.finditer(r"\S+", text))[: self.params.words]
        spans = np.array([word.span() for word in found], dtype=np.int32).reshape(-1, 2)
        return spans, self._tokenizer.encode([word[0] for word in found], is_pretokenized=True)


def word_vectors(state: FloatArray, owners: Sequence[int], spans: NDArray[np.int32]) -> Encoded | Missing:
    """Turn token states into word vectors: each is the mean state of the word's tokens.

    Return three arrays: `tokens` (the word vectors), `words` (their characters) and `pooled` (mean of the vectors).

    Args:
        state: states of the T tokens, D values each, [T, D].
        owners: index of the word to which each token belongs, [T].
        spans: start and end (exclusive) of each of the K words in the text, [K, 2].
    """
    words, row = np.unique(owners, return_inverse=True)
    tokens = np.stack([state[row == n].mean(axis=0) for n in range(len(words))])
    pooled = tokens.mean(axis=0, keepdims=True)
    arrays: dict[str, Any] = {"pooled": pooled, "tokens": tokens, "words": spans[words]}
    if not all_finite(arrays):
        return Missing(Reason.FAULT, "the network's states are not finite")
    return Encoded(arrays, frames=len(tokens))


class Sentences:
    """Computes a sentence vector with MPNet (`pooled`): the mean of all token states, scaled to length 1.

    Text is cut after 384 tokens. With the param `tokens`, the token states are kept too.
    """

    def __init__(self, params: SentenceParams, network: "nn.Module", device: str, weights: Weights) -> None:
        self.params, self.device, self._network = params, device, network.to(device)
        self._tokenizer = open_tokenizer(weights)
        self._tokenizer.enable_truncation(SENTENCE_LIMIT)

    def length(self, sample: Sample) -> int:
        """Return the number of tokens of the text, including `<s>` and `</s>`."""
        return len(self._tokens(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run all transcripts through MPNet in one padded batch.

        Returns:
            For each transcript, the arrays that `arrays` declares; a `Missing` for one without any token.
        """
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        encodings = [self._tokens(sample) for sample in samples]
        rows = [n for n, encoding in enumerate(encodings) if len(encoding.ids) > 2]
        if rows:
            states = hidden_states(self._network, [encodings[n].ids for n in rows], self.device)
            for n, state in zip(rows, states, strict=True):
                results[n] = self._result(state, encodings[n])
        return results

    def _tokens(self, sample: Sample) -> "Encoding":
        return self._tokenizer.encode(tidy(sample.text, self.params.events))

    def _result(self, state: FloatArray, encoding: "Encoding") -> Encoded | Missing:
        mean = state.mean(axis=0, keepdims=True)
        arrays: dict[str, Any] = {"pooled": mean / np.linalg.norm(mean)}
        if self.params.tokens:
            arrays["tokens"] = np.ascontiguousarray(state[1:-1])
            arrays["words"] = character_spans(encoding)[1:-1]
        if not all_finite(arrays):
            return Missing(Reason.FAULT, "the network's states are not finite")
        return Encoded(arrays, frames=len(state) - 2)


ENTRIES: Final = (
    MpnetKind(
        EncoderSpec(
            key="text/all-mpnet",
            modality="text",
            summary="all-mpnet-base-v2 sentence vector and token states",
            batch="mask",
            version=1,
            licence="Apache-2.0",
            weights="all-mpnet",
            paper="Sentence-BERT (arXiv 1908.10084)",
        ),
        SentenceParams,
        "token",
    ),
    MpnetKind(
        EncoderSpec(
            key="text/mpnet",
            modality="text",
            summary="MPNet-base: a vector for each word",
            batch="mask",
            version=1,
            licence="MIT",
            weights="mpnet",
            paper="MPNet (arXiv 2004.09297)",
        ),
        WordParams,
        "word",
    ),
)
