"""RoBERTa in several sizes: build the network, load a checkpoint, and make embeddings of speaker tokens for Cues.

Cues is one of the fusion models.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ercache.nets.text_shapes import Shape, shape_of
from ercache.weights import Weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn

LIMIT: Final = 512  # longest input, in tokens
PAD_ID: Final = 1
# Beginnings of tensor names in checkpoints that the network does not have: heads, the untrained pooler, a constant.
HEADS: Final = ("lm_head.", "classifier.", "pooler.", "embeddings.position_ids")
SPEAKERS: Final = 10  # tokens of speakers; a MELD dialogue has up to nine
SPREAD: Final = 0.02  # standard deviation of their rows around the mean of all rows

BASE: Final = Shape(768, 12, 12, 3072, 50265)
LARGE: Final = Shape(1024, 24, 16, 4096, 50265)
SMALL: Final = Shape(128, 2, 2, 512, 0)
SIZES: Final = {"small": SMALL, "base": BASE, "large": LARGE}


def shape_in(tensors: Mapping[str, "Tensor"], expected: Shape) -> Shape:
    """Find out the sizes of a RoBERTa from the shapes of its tensors.

    Args:
        tensors: tensors of the network, by name; empty for random weights.
        expected: sizes to return if `tensors` is empty; also gives the width and the number of heads.
    """
    first = tensors.get("encoder.layer.0.intermediate.dense.weight")
    if first is None:
        return expected
    numbers = {int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer.")}
    vocabulary = len(tensors["embeddings.word_embeddings.weight"])
    return replace(expected, layers=len(numbers), inner=len(first), vocabulary=vocabulary)


def roberta(shape: Shape, vocabulary: int) -> "nn.Module":
    """Build a RoBERTa without its pooler, which pre-training does not train. No checkpoint is loaded.

    Args:
        shape: sizes of the network.
        vocabulary: number of rows of the embedding table, used if `shape.vocabulary` is 0.
    """
    from transformers.models.roberta.configuration_roberta import RobertaConfig
    from transformers.models.roberta.modeling_roberta import RobertaModel

    config = RobertaConfig(
        vocab_size=shape.vocabulary or vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=LIMIT + 2,  # positions are counted from PAD_ID + 1
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    config._attn_implementation = "sdpa"
    return RobertaModel(config, add_pooling_layer=False)


def from_checkpoint(weights: Weights, expected: Shape, tokenizer: "Tokenizer") -> "nn.Module":
    """Build a RoBERTa and load a published checkpoint into it.

    Args:
        weights: the checkpoint.
        expected: sizes of the network that the encoder expects in the checkpoint.
        tokenizer: tokenizer of the checkpoint, which gives the size of the vocabulary.

    Raises:
        WeightsError: the checkpoint is absent, damaged, or of another network.
    """
    shape = shape_of(weights, expected)
    return weights.network(
        lambda: roberta(shape, tokenizer.get_vocab_size()), strip=("roberta.",), drop=HEADS
    )


def speaker_rows(table: "Tensor") -> "Tensor":
    """Make initial embeddings for ten new tokens that name speakers: the mean of all token embeddings plus fixed noise.

    Args:
        table: embedding table of the network, [V, width] for a vocabulary of V tokens.

    Returns:
        Embeddings of the speaker tokens, [10, width]; equal in every run for the same table.
    """
    import torch

    noise = torch.randn((SPEAKERS, table.shape[1]), generator=torch.Generator().manual_seed(0))
    return table.mean(dim=0) + SPREAD * noise
