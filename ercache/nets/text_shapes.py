"""Sizes of the networks that read text: those of the key, or what the config.json of a checkpoint says."""

from dataclasses import astuple, dataclass
from typing import Final

from ercache.weights import Weights

# Of config.json, in the order of a shape's.
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
    config = weights.config(dict(zip(FIELDS, astuple(expected), strict=True)), fixed=("hidden_size",))
    return Shape(*(config[name] for name in FIELDS))
