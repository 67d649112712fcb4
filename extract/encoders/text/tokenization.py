"""Functions that text encoders share: open tokenizers, form padded batches, and find the characters of each token."""

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
    """Open the tokenizer that belongs to the weights of a text encoder.

    It is stored beside the checkpoint or the trained extractor. Random weights have none; they get `byte_tokenizer`.
    Special tokens such as `</s>` in a transcript are read as plain characters.

    Raises:
        WeightsError: the tokenizer file is absent or damaged.
    """
    from tokenizers import Tokenizer

    if weights.random is not None:
        return plain_tokenizer(byte_tokenizer())
    own = weights.key.startswith(PREFIX)
    name = weights.key.removeprefix(PREFIX)
    path = extractor_file(weights.data, name, TOKENIZER) if own else weights.path(TOKENIZER)
    return plain_tokenizer(Tokenizer.from_file(str(path)))


def plain_tokenizer(tokenizer: "Tokenizer") -> "Tokenizer":
    """Switch off padding and truncation in a tokenizer, and let it read `</s>` in a transcript as plain characters."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def byte_tokenizer() -> "Tokenizer":
    """Return a tokenizer that needs no vocabulary file: each byte of the UTF-8 text is one token.

    Ids 0 to 3 are the special tokens `<s> <pad> </s> <unk>`, ids 4 to 259 the 256 bytes. A text gets about four times
    as many tokens as from a real tokenizer. It is used only with random weights, which serve for tests.
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
    """Return the ids of the tokens `<s>` and `</s>` in the vocabulary of a tokenizer.

    Raises:
        WeightsError: the tokenizer does not have both tokens, so it does not belong to a RoBERTa.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    if start is None or end is None:
        raise WeightsError(
            f"tokenizer.json has no token {START} or {END}, so it does not belong to a RoBERTa",
            hint="put the tokenizer.json of a RoBERTa beside the weights, or use another checkpoint",
        )
    return SpecialTokens(start, end)


def hidden_states(
    network: "nn.Module", ids: Sequence[Sequence[int]], device: str, pad: int = PAD_ID
) -> list[FloatArray]:
    """Run token sequences through a network in one padded batch, and return the states of its last layer.

    Returns:
        For each sequence of T tokens an array [T, D], with D values per token and without padding.
    """
    import torch

    padded, mask = padded_rows(ids, pad)
    with torch.inference_mode():
        output = network(input_ids=padded.to(device), attention_mask=mask.to(device))
    hidden = output.last_hidden_state.float().cpu().numpy()  # [B, longest, D]
    return [hidden[row, : len(tokens)] for row, tokens in enumerate(ids)]


def padded_rows(ids: Sequence[Sequence[int]], pad: int = PAD_ID) -> tuple["Tensor", "Tensor"]:
    """Stack B token sequences as the rows of one array, padded to the longest sequence.

    Return two arrays [B, longest]: the padded token ids, and a mask (1 for tokens, 0 for padding).
    """
    import torch

    padded = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return padded, mask


def character_spans(encoding: "Encoding") -> NDArray[np.int32]:
    """Return which characters of the text each of T tokens covers: index of the first, index after the last, [T, 2]."""
    return np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)


def text_arrays(width: int, tokens: bool, row: str = "token") -> tuple[ArraySpec, ...]:
    """Declare the arrays of a text encoder: `pooled` [1, width] and, if `tokens` is true, `tokens` and `words`.

    `tokens` [T, width] holds one vector per token (or per word, see `row`). `words` [T, 2] holds the characters that it
    covers, start and end (exclusive), in the transcript after `tidy` has cleaned it.
    """
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    states = ArraySpec("tokens", "sequence", (row, "dimension"), (width,))
    words = ArraySpec("words", "sequence", (row, "start_end"), (2,), "int32", "characters")
    return (pooled, states, words) if tokens else (pooled,)


def all_finite(arrays: dict[str, NDArray[Any]]) -> bool:
    """Return whether all values of all arrays are finite (neither NaN nor infinite)."""
    return all(np.isfinite(array).all() for array in arrays.values())
