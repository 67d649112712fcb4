"""RoBERTa and its relatives: utterances alone, or among their neighbours as EmoBERTa reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.nets.roberta import SIZES, from_checkpoint, roberta
from ercache.nets.text_shapes import Shape
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.trained_extractors import load_extractor
from ercache.weights import Weights
from extract.encoders.base import ALL, Encoded, EncoderSpec, Input, Sample
from extract.encoders.text.tokenization import finite, hidden_states, open_tokenizer, places, text_arrays
from extract.encoders.text.turn_reader import TurnReader
from extract.media.types import FloatArray
from extract.text.dialogue_context import Names, prefix_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn

Reach = int | Literal["max"]
READ: Final = ("size", "past", "future", "names", "events")  # what a feature must share with its training


class Alone(Strict):
    """Switches of a RoBERTa that reads utterances alone.

    Attributes:
        pool: `pooled` is the state of `<s>` (`cls`) or the mean over all tokens (`mean`).
        tokens: also keep the state of every token and its place in the text.
        events: keep tags such as [LAUGHTER].
    """

    pool: Literal["cls", "mean"] = "cls"
    tokens: bool = True
    events: bool = True


class Among(Strict):
    """Switches of a RoBERTa that reads utterances among their neighbours, as many as 512 tokens hold.

    Attributes:
        names: what precedes each turn: `first` (the speaker; first names for IEMOCAP), `sex` (FEMALE and MALE for
            IEMOCAP), `none`.
        pool: state of `<s>` (`cls`), mean over all tokens (`mean`) or over the current turn's (`target_mean`).
        tokens: also keep the state of every token of the current turn's text and its place in it.
        events: keep tags such as [LAUGHTER].
    """

    names: Names = "first"
    pool: Literal["cls", "mean", "target_mean"] = "cls"
    tokens: bool = True
    events: bool = True


class M2FNetParams(Strict):
    """Switches of `text/m2fnet-roberta`; all but `pool` and `tokens` must be those that it was trained with.

    Attributes:
        pretrained: which training made its weights, a name under `pretrain:`.
        size: of the network.
        past, future: neighbours; `max` for as many as 512 tokens hold.
        names, pool, tokens, events: as for the others.
    """

    pretrained: str = "m2fnet_roberta"
    size: Literal["small", "base", "large"] = "large"
    past: Reach = 1
    future: Reach = 1
    names: Names = "sex"
    pool: Literal["cls", "mean", "target_mean"] = "cls"
    tokens: bool = False
    events: bool = True


@dataclass(frozen=True)
class RobertaKind:
    """A key of the family.

    Attributes:
        shape: of the network; None where the param `size` says it.
        past, future: neighbours that it reads, where no param says how many.
    """

    spec: EncoderSpec
    Params: type[BaseModel]
    shape: Shape | None
    past: int = 0
    future: int = 0

    def input(self, params: Any) -> Input:
        """The transcript, and the neighbours' with who says each."""
        past, future = (number_of(getattr(params, side, getattr(self, side))) for side in ("past", "future"))
        return Input(text=True, speaker=_names(params) != "none", past=past, future=future)

    def arrays(self, params: Any) -> tuple[ArraySpec, ...]:
        """`pooled`; with `tokens` also token states and their stretches of the text."""
        return text_arrays(self._shape(params).width, params.tokens)

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> "Roberta":
        """Build the encoder.

        Raises:
            WeightsError: the checkpoint is absent, damaged or another network's, or trained with other switches.
        """
        handle = weights or Weights(self.spec.weights or f"made/{params.pretrained}")
        tokenizer, shape = open_tokenizer(handle), self._shape(params)
        if self.spec.weights is None:
            network = tuned(handle, params, shape, tokenizer)
        else:
            network = from_checkpoint(handle, shape, tokenizer)
        return Roberta(network, tokenizer, params, self.input(params), device)

    def _shape(self, params: Any) -> Shape:
        return self.shape or SIZES[params.size]


def tuned(weights: Weights, params: "M2FNetParams", shape: Shape, tokenizer: "Tokenizer") -> "nn.Module":
    """The network that a training of ours has made.

    Raises:
        WeightsError: it was trained to read utterances in another way than the feature asks for.
    """
    asked = params.model_dump(mode="json")

    def build(config: Mapping[str, Any]) -> "nn.Module":
        other = [
            f"{k}: trained with {config[k]}, asked for {asked[k]}" for k in READ if config[k] != asked[k]
        ]
        if other:
            raise WeightsError(
                f"extractor {params.pretrained!r} reads utterances in another way than this feature",
                details=other,
                hint="give the feature the switches of its training",
            )
        return roberta(shape, tokenizer.get_vocab_size())

    return load_extractor(weights, M2FNET.spec.key, build, asked)[0]


def number_of(reach: Reach) -> int:
    """Neighbours at most."""
    return ALL if reach == "max" else reach


def _names(params: Any) -> Names:
    names: Names = getattr(params, "names", "none")
    return names


class Roberta:
    """`frames` is the number of the text's tokens; text beyond 512 tokens, marks included, is cut."""

    def __init__(
        self, network: "nn.Module", tokenizer: "Tokenizer", params: Any, asked: Input, device: str
    ) -> None:
        self.params, self.device, self.names = params, device, _names(params)
        self._network = network.to(device)
        self._reader = TurnReader(tokenizer, self.names, params.events, bool(asked.past), bool(asked.future))

    def length(self, sample: Sample) -> int:
        """Tokens, with their neighbours' and all marks."""
        return len(self._reader.sequence(sample).ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode texts in one padded batch; a text without a visible character is missing."""
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        rows = [n for n, sample in enumerate(samples) if self._reader.readable(sample)]
        if rows:
            sequences = [self._reader.sequence(samples[n]) for n in rows]
            states = hidden_states(self._network, [s.ids for s in sequences], self.device)
            for n, sequence, state in zip(rows, sequences, states, strict=True):
                results[n] = self._result(samples[n], sequence.own, state)
        return results

    def _result(self, sample: Sample, own: slice, state: FloatArray) -> Encoded | Missing:
        pooled = {"cls": state[:1], "mean": state, "target_mean": state[own]}[self.params.pool]
        arrays: dict[str, Any] = {"pooled": pooled.mean(axis=0, keepdims=True)}
        name = len(prefix_of(sample.speaker, self.names))
        stretches = places(self._reader.encoding(sample))[: own.stop - own.start]
        said = stretches[:, 1] > name  # tokens of the text, not of the speaker's name before it
        if self.params.tokens:
            arrays["tokens"] = np.ascontiguousarray(state[own][said])
            arrays["words"] = np.maximum(stretches[said] - name, 0)
        if not finite(arrays):
            return Missing(Reason.FAULT, "the network's states are not finite")
        return Encoded(arrays, frames=int(said.sum()))


Sides = Literal["", "-ctx-past", "-ctx-both"]
_READS: Final[dict[Sides, tuple[str, int, int]]] = {
    "": ("", 0, 0),
    "-ctx-past": (", after what was said before", ALL, 0),
    "-ctx-both": (", between what is said before and after", ALL, ALL),
}
_PAPERS: Final = {"roberta": "RoBERTa (arXiv 1907.11692)", "emoberta": "EmoBERTa (arXiv 2108.12009)"}


def _kind(
    family: Literal["roberta", "emoberta"], size: Literal["base", "large"], sides: Sides
) -> RobertaKind:
    paper = _PAPERS[family]
    reads, past, future = _READS[sides]
    spec = EncoderSpec(
        key=f"text/{family}-{size}{sides}",
        modality="text",
        summary=f"{paper.split()[0]}-{size}: token states and their pooling{reads}",
        batch="mask",
        version=1,
        licence="MIT",
        weights=f"{family}-{size}",
        paper=paper,
    )
    return RobertaKind(spec, Among if sides else Alone, SIZES[size], past, future)


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
    *(_kind("emoberta", size, sides) for size in ("base", "large") for sides in _READS),
    *(_kind("roberta", size, sides) for size in ("base", "large") for sides in _READS),
)
