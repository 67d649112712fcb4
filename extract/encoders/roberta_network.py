"""RoBERTa's network in its sizes, bare or with the tensors of a checkpoint."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ercache.weights import Weights
from extract.context import LIMIT
from extract.encoders.pieces import HEADS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn


@dataclass(frozen=True)
class Shape:
    """Sizes of a RoBERTa; `vocabulary` None for that of its tokenizer."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int | None = 50265


BASE: Final = Shape(768, 12, 12, 3072)
LARGE: Final = Shape(1024, 24, 16, 4096)
SMALL: Final = Shape(128, 2, 2, 512, None)
SIZES: Final = {"small": SMALL, "base": BASE, "large": LARGE}


def roberta(shape: Shape, vocabulary: int) -> "nn.Module":
    """The network without its pooler, which was never trained."""
    from transformers.models.roberta.configuration_roberta import RobertaConfig
    from transformers.models.roberta.modeling_roberta import RobertaModel

    config = RobertaConfig(
        vocab_size=shape.vocabulary or vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=LIMIT + 2,  # positions begin after that of the pad
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    config._attn_implementation = "sdpa"
    return RobertaModel(config, add_pooling_layer=False)


def from_checkpoint(weights: Weights, shape: Shape, tokenizer: "Tokenizer") -> "nn.Module":
    """The network with the tensors of a published checkpoint."""
    return weights.network(
        lambda: roberta(shape, tokenizer.get_vocab_size()), strip=("roberta.",), drop=HEADS
    )
