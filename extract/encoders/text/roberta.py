"""RoBERTa encoders: they read an utterance alone, or together with its neighbours in the dialogue as EmoBERTa does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.nets.roberta import SIZES, from_checkpoint, roberta, shape_in
from ercache.nets.text_shapes import Shape
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.trained_extractors import load_extractor
from ercache.weights import Weights
from extract.encoders.base import WHOLE_DIALOGUE, Encoded, EncoderSpec, Input, Sample
from extract.encoders.text.tokenization import (
    all_finite,
    character_spans,
    hidden_states,
    open_tokenizer,
    text_arrays,
)
from extract.encoders.text.turn_reader import TurnReader
from extract.media.types import FloatArray
from extract.text.dialogue_context import NameStyle, speaker_prefix

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn

NeighbourCount = int | Literal["max"]
READING_PARAMS: Final = ("size", "past", "future", "names", "events")  # equal in a feature and its training


class SingleUtteranceParams(Strict):
    """Parameters of a RoBERTa that reads each utterance alone.

    Attributes:
        pool: which vector of the utterance is kept (`pooled`): the state of the token `<s>` (`cls`), or the mean of all
            token states (`mean`).
        tokens: also keep the state of every token and which characters of the text it covers.
        events: whether tags such as [LAUGHTER] stay in the text.
    """

    pool: Literal["cls", "mean"] = "cls"
    tokens: bool = True
    events: bool = True


class InContextParams(Strict):
    """Parameters of a RoBERTa that reads an utterance with as many of its neighbours as fit into 512 tokens.

    Attributes:
        names: what is written before each utterance: `first` writes the speaker's name (in IEMOCAP an invented first
            name); `sex` writes the speaker's sex in IEMOCAP, and the name in other corpora; `none` writes nothing.
        pool: which vector of the utterance is kept (`pooled`): the state of the token `<s>` (`cls`), the mean of all
            token states (`mean`), or the mean over the tokens of the current utterance (`target_mean`).
        tokens: also keep the state of every token of the current utterance and which characters of the text it covers.
        events: whether tags such as [LAUGHTER] stay in the text.
    """

    names: NameStyle = "first"
    pool: Literal["cls", "mean", "target_mean"] = "cls"
    tokens: bool = True
    events: bool = True


class M2FNetParams(Strict):
    """Parameters of `text/m2fnet-roberta`, a RoBERTa that the user has trained with `ercache pretrain`.

    `size`, `past`, `future`, `names` and `events` must have the same values as in the training run.

    Attributes:
        pretrained: name of the training run under `pretrain:` in params.yaml that produced the weights.
        size: size of the network.
        past, future: number of earlier and of later utterances that are read with the current one; `max` for as many
            as fit into 512 tokens.
        names: what is written before each utterance: `first` writes the speaker's name; `sex` writes the speaker's sex
            in IEMOCAP, and the name in other corpora; `none` writes nothing.
        pool: which vector of the utterance is kept (`pooled`): the state of the token `<s>` (`cls`), the mean of all
            token states (`mean`), or the mean over the tokens of the current utterance (`target_mean`).
        tokens: also keep the state of every token of the current utterance and which characters of the text it covers.
        events: whether tags such as [LAUGHTER] stay in the text.
    """

    pretrained: str = "m2fnet_roberta"
    size: Literal["small", "base", "large"] = "large"
    past: NeighbourCount = 1
    future: NeighbourCount = 1
    names: NameStyle = "sex"
    pool: Literal["cls", "mean", "target_mean"] = "cls"
    tokens: bool = False
    events: bool = True


@dataclass(frozen=True)
class RobertaKind:
    """An entry of the encoder registry for one of the RoBERTa encoders (base or large, with or without neighbours).

    Attributes:
        spec: fixed properties of the encoder.
        Params: class that checks the params.
        shape: size of the network; None if the param `size` gives it.
        past, future: number of earlier and of later utterances that are read, if there are no params of these names.
    """

    spec: EncoderSpec
    Params: type[BaseModel]
    shape: Shape | None
    past: int = 0
    future: int = 0

    def input(self, params: Any) -> Input:
        """Declare which input the encoder needs: the transcript of the utterance.

        If the encoder also reads neighbours, it needs their transcripts and the speakers as well.
        """
        past, future = (
            max_neighbours(getattr(params, side, getattr(self, side))) for side in ("past", "future")
        )
        return Input(text=True, speaker=_names(params) != "none", past=past, future=future)

    def arrays(self, params: Any) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the utterance's vector; with the param `tokens` also `tokens` and `words`.

        `tokens` [T, width] holds the states of the utterance's T tokens, `words` [T, 2] the characters that each token
        covers: start and end (exclusive).
        """
        return text_arrays(self._shape(params).width, params.tokens)

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> "Roberta":
        """Load the RoBERTa network and its tokenizer, and build the encoder on a device.

        Raises:
            WeightsError: the checkpoint is absent or damaged, belongs to another network, or comes from a training run
                with other params.
        """
        handle = weights or Weights(self.spec.weights or f"made/{params.pretrained}")
        tokenizer, shape = open_tokenizer(handle), self._shape(params)
        if self.spec.weights is None:
            network = fine_tuned_network(handle, params, shape, tokenizer)
        else:
            network = from_checkpoint(handle, shape, tokenizer)
        return Roberta(network, tokenizer, params, self.input(params), device)

    def _shape(self, params: Any) -> Shape:
        return self.shape or SIZES[params.size]


def fine_tuned_network(
    weights: Weights, params: "M2FNetParams", shape: Shape, tokenizer: "Tokenizer"
) -> "nn.Module":
    """Load a RoBERTa that `ercache pretrain` has fine-tuned, after checking that it was trained with the same params.

    Raises:
        WeightsError: `size`, `past`, `future`, `names` or `events` differ between the training run and the feature.
    """
    requested = params.model_dump(mode="json")

    def build(config: Mapping[str, Any], tensors: Mapping[str, "Tensor"]) -> "nn.Module":
        other = [
            f"{k}: trained with {config[k]}, requested {requested[k]}"
            for k in READING_PARAMS
            if config[k] != requested[k]
        ]
        if other:
            raise WeightsError(
                f"text/m2fnet-roberta: {params.pretrained!r} was trained with other params than this feature has",
                details=other,
                hint="give the feature the params of the training run, or train again with those of the feature",
            )
        return roberta(shape_in(tensors, shape), tokenizer.get_vocab_size())

    return load_extractor(weights, M2FNET.spec.key, build, requested)[0]


def max_neighbours(count: NeighbourCount) -> int:
    """Return the value of the param `past` or `future` as a number of neighbours; `max` means the whole dialogue."""
    return WHOLE_DIALOGUE if count == "max" else count


def _names(params: Any) -> NameStyle:
    names: NameStyle = getattr(params, "names", "none")
    return names


class Roberta:
    """Runs utterances through a RoBERTa, alone or with their neighbours in the dialogue.

    The network reads at most 512 tokens, including special tokens. In the result, `frames` is the number of tokens of
    the utterance's own text.
    """

    def __init__(
        self, network: "nn.Module", tokenizer: "Tokenizer", params: Any, requested: Input, device: str
    ) -> None:
        self.params, self.device, self.names = params, device, _names(params)
        self._network = network.to(device)
        self._reader = TurnReader(
            tokenizer, self.names, params.events, bool(requested.past), bool(requested.future)
        )

    def length(self, sample: Sample) -> int:
        """Return the number of tokens of the input, including neighbours and special tokens."""
        return len(self._reader.sequence(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run all utterances, each with its neighbours, through RoBERTa in one padded batch.

        Returns:
            For each utterance, the arrays that `arrays` declares; a `Missing` if it has no visible character.
        """
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        rows = [n for n, sample in enumerate(samples) if self._reader.has_text(sample)]
        if rows:
            sequences = [self._reader.sequence(samples[n]) for n in rows]
            states = hidden_states(self._network, [s.ids for s in sequences], self.device)
            for n, sequence, state in zip(rows, sequences, states, strict=True):
                results[n] = self._result(samples[n], sequence.own, state)
        return results

    def _result(self, sample: Sample, own: slice, state: FloatArray) -> Encoded | Missing:
        pooled = {"cls": state[:1], "mean": state, "target_mean": state[own]}[self.params.pool]
        arrays: dict[str, Any] = {"pooled": pooled.mean(axis=0, keepdims=True)}
        name = len(speaker_prefix(sample.speaker, self.names))
        spans = character_spans(self._reader.encoding(sample))[: own.stop - own.start]
        is_text_token = spans[:, 1] > name  # not a token of the speaker's name before the text
        if self.params.tokens:
            arrays["tokens"] = np.ascontiguousarray(state[own][is_text_token])
            arrays["words"] = np.maximum(spans[is_text_token] - name, 0)
        if not all_finite(arrays):
            return Missing(Reason.FAULT, "the network's states are not finite")
        return Encoded(arrays, frames=int(is_text_token.sum()))


Sides = Literal["", "-ctx-past", "-ctx-both"]
_CONTEXTS: Final[dict[Sides, tuple[str, int, int]]] = {
    "": ("", 0, 0),
    "-ctx-past": (", after what was said before", WHOLE_DIALOGUE, 0),
    "-ctx-both": (", between what is said before and after", WHOLE_DIALOGUE, WHOLE_DIALOGUE),
}
_PAPERS: Final = {"roberta": "RoBERTa (arXiv 1907.11692)", "emoberta": "EmoBERTa (arXiv 2108.12009)"}


def _kind(
    family: Literal["roberta", "emoberta"], size: Literal["base", "large"], sides: Sides
) -> RobertaKind:
    paper = _PAPERS[family]
    context, past, future = _CONTEXTS[sides]
    spec = EncoderSpec(
        key=f"text/{family}-{size}{sides}",
        modality="text",
        summary=f"{paper.split()[0]}-{size}: token states and their pooling{context}",
        batch="mask",
        version=1,
        licence="MIT",
        weights=f"{family}-{size}",
        paper=paper,
    )
    return RobertaKind(spec, InContextParams if sides else SingleUtteranceParams, SIZES[size], past, future)


M2FNET: Final = RobertaKind(
    EncoderSpec(
        key="text/m2fnet-roberta",
        modality="text",
        summary="RoBERTa fine-tuned by `ercache pretrain` on the emotions of utterances between their neighbours",
        batch="mask",
        version=1,
        licence="that of the data it is trained on",
        paper="M2FNet (arXiv 2206.02187)",
    ),
    M2FNetParams,
    shape=None,
)
ENTRIES: Final = (
    M2FNET,
    *(_kind("emoberta", size, sides) for size in ("base", "large") for sides in _CONTEXTS),
    *(_kind("roberta", size, sides) for size in ("base", "large") for sides in _CONTEXTS),
)
