"""Sizes of the networks that read text: those of the key, or what the config.json of a checkpoint says."""

from dataclasses import dataclass
from typing import Final

from ercache.errors import WeightsError
from ercache.weights import Weights

FIELDS: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """Sizes of a RoBERTa or MPNet; `vocabulary` 0 for that of its tokenizer."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int


def shape_of(weights: Weights, expected: Shape) -> Shape:
    """What config.json says of the network; `expected` with random weights.

    Raises:
        WeightsError: absent or damaged, or its width is not the key's, so its arrays would be wrong.
    """
    if weights.random is not None:
        return expected
    config = weights.config({})
    if config.get("hidden_size") != expected.width:
        raise WeightsError(
            f"checkpoint {weights.key!r} is of another network",
            details=[f"hidden_size: {config.get('hidden_size')!r}, expected {expected.width}"],
            hint="is it the checkpoint of this key?",
        )
    return Shape(*(config[name] for name in FIELDS))
