"""Shared parts of the text encoders: tokenizers, padded batches, and the character spans of tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.nets.roberta import PAD_ID
from ercache.trained_extractors import PREFIX, TOKENIZER, extractor_file
from ercache.weights import Weights
from extract.media.types import FloatArray
from extract.text.dialogue_context import SpecialTokens

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor, nn

START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"  # ids 0 to 3 in RoBERTa and MPNet


def open_tokenizer(weights: Weights) -> "Tokenizer":
    """Open the tokenizer of a checkpoint or trained extractor; with random weights return `byte_tokenizer`.

    A transcript is always treated as text, even if it contains `</s>`.

    Raises:
        WeightsError: the file is absent or damaged.
    """
    from tokenizers import Tokenizer

    if weights.random is not None:
        return plain_tokenizer(byte_tokenizer())
    own = weights.key.startswith(PREFIX)
    name = weights.key.removeprefix(PREFIX)
    path = extractor_file(weights.data, name, TOKENIZER) if own else weights.path(TOKENIZER)
    return plain_tokenizer(Tokenizer.from_file(str(path)))


def plain_tokenizer(tokenizer: "Tokenizer") -> "Tokenizer":
    """Make a tokenizer pad and cut nothing, and treat special tokens inside a text as text."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def byte_tokenizer() -> "Tokenizer":
    """Return a substitute without a vocabulary: `<s> <pad> </s> <unk>`, then the 256 bytes of UTF-8 as tokens 4 to 259.

    It gives about four times as many tokens as a real tokenizer. It is used only with random weights, so the provenance
    of its features contains `random`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    names = [START, PAD, END, UNKNOWN, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: n for n, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing((END, 2), (START, 0), add_prefix_space=False)
    tokenizer.add_special_tokens(names[:4])
    return tokenizer


def special_tokens(tokenizer: "Tokenizer") -> SpecialTokens:
    """Return the ids of `<s>` and `</s>`.

    Raises:
        WeightsError: the tokenizer has no such tokens, so it does not belong to a RoBERTa.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    if start is None or end is None:
        raise WeightsError(
            f"tokenizer.json has no token {START} or {END}", hint="is it the tokenizer of a RoBERTa?"
        )
    return SpecialTokens(start, end)


def hidden_states(
    network: "nn.Module", ids: Sequence[Sequence[int]], device: str, pad: int = PAD_ID
) -> list[FloatArray]:
    """Return the last hidden states of each sequence, [T, D], computed in one masked batch."""
    import torch

    padded, mask = padded_rows(ids, pad)
    with torch.inference_mode():
        output = network(input_ids=padded.to(device), attention_mask=mask.to(device))
    hidden = output.last_hidden_state.float().cpu().numpy()  # [B, longest, D]
    return [hidden[row, : len(tokens)] for row, tokens in enumerate(ids)]


def padded_rows(ids: Sequence[Sequence[int]], pad: int = PAD_ID) -> tuple["Tensor", "Tensor"]:
    """Stack sequences into one table [B, longest], and return it with a mask: 1 for tokens, 0 for padding."""
    import torch

    padded = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return padded, mask


def character_spans(encoding: "Encoding") -> NDArray[np.int32]:
    """Return the characters of the text that each token covers, [T, 2] as [start, end)."""
    return np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)


def text_arrays(width: int, tokens: bool, row: str = "token") -> tuple[ArraySpec, ...]:
    """Declare `pooled`; with `tokens` also a state per token (or word) and its character span in the tidied text."""
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    states = ArraySpec("tokens", "sequence", (row, "dimension"), (width,))
    words = ArraySpec("words", "sequence", (row, "start_end"), (2,), "int32", "characters")
    return (pooled, states, words) if tokens else (pooled,)


def all_finite(arrays: dict[str, NDArray[Any]]) -> bool:
    """Whether all values are finite."""
    return all(np.isfinite(array).all() for array in arrays.values())
