"""RoBERTa's network in its sizes, bare or with the tensors of a checkpoint, and rows that Cues adds to it."""

from typing import TYPE_CHECKING, Final

from ercache.nets.text_shapes import Shape, shape_of
from ercache.weights import Weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn

LIMIT: Final = 512  # tokens that it has positions for
PAD_ID: Final = 1
# Tokens of a name that a checkpoint stores and the bare network has not: heads, the untrained pooler, a constant.
HEADS: Final = ("lm_head.", "classifier.", "pooler.", "embeddings.position_ids")
SPEAKERS: Final = 10  # tokens of speakers; a MELD dialogue has up to nine
SPREAD: Final = 0.02  # of their rows around the mean of all rows

BASE: Final = Shape(768, 12, 12, 3072, 50265)
LARGE: Final = Shape(1024, 24, 16, 4096, 50265)
SMALL: Final = Shape(128, 2, 2, 512, 0)
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


def from_checkpoint(weights: Weights, expected: Shape, tokenizer: "Tokenizer") -> "nn.Module":
    """The network with the tensors of a published checkpoint.

    Raises:
        WeightsError: the checkpoint is absent, damaged or another network's.
    """
    shape = shape_of(weights, expected)
    return weights.network(
        lambda: roberta(shape, tokenizer.get_vocab_size()), strip=("roberta.",), drop=HEADS
    )


def speaker_rows(table: "Tensor") -> "Tensor":
    """Rows for ten speakers' tokens near the mean of a table [V, width], always the same ones, [10, width]."""
    import torch

    noise = torch.randn((SPEAKERS, table.shape[1]), generator=torch.Generator().manual_seed(0))
    return table.mean(dim=0) + SPREAD * noise
