"""Sizes of text networks (RoBERTa, MPNet), and how to read them from the config.json of a checkpoint."""

from dataclasses import astuple, dataclass
from typing import Final

from ercache.weights import Weights

# Fields of config.json, in the order of the fields of `Shape`.
FIELDS: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """Sizes of a RoBERTa or MPNet.

    Attributes:
        width: size of the states.
        layers, heads: number of transformer layers, and number of attention heads per layer.
        inner: width of the feed-forward layers.
        vocabulary: number of tokens in the embedding table; 0 means as many as the tokenizer has.
    """

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int


def shape_of(weights: Weights, expected: Shape) -> Shape:
    """Read the sizes of a network from the config.json of its checkpoint.

    Args:
        weights: the checkpoint. With random weights there is no config.json, and `expected` is returned.
        expected: sizes that the encoder assumes; the width must be equal, all other sizes may differ.

    Raises:
        WeightsError: config.json is absent or damaged, or its width differs from `expected`.
    """
    config = weights.config(dict(zip(FIELDS, astuple(expected), strict=True)), fixed=("hidden_size",))
    return Shape(*(config[name] for name in FIELDS))
