"""Functions that all text encoders use: tokenizers, padded batches, and the character spans of tokens."""

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
    """Open the tokenizer of a checkpoint or trained extractor. With random weights, return `byte_tokenizer` instead.

    A transcript is always treated as plain text, even if it contains `</s>`.

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
    """Switch off padding and truncation in a tokenizer, and make it read `</s>` in a text as plain characters."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def byte_tokenizer() -> "Tokenizer":
    """Return a tokenizer that needs no vocabulary file: each byte of the UTF-8 text is one token.

    Tokens 0 to 3 are `<s> <pad> </s> <unk>`, tokens 4 to 259 the 256 bytes. It gives about four times as many tokens as
    a real tokenizer. It is used only with random weights, so the provenance of its features contains `random`.
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
        WeightsError: the tokenizer does not have both tokens, so it does not belong to a RoBERTa.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    if start is None or end is None:
        raise WeightsError(
            f"tokenizer.json has no token {START} or {END}",
            hint="this encoder needs the tokenizer of a RoBERTa",
        )
    return SpecialTokens(start, end)


def hidden_states(
    network: "nn.Module", ids: Sequence[Sequence[int]], device: str, pad: int = PAD_ID
) -> list[FloatArray]:
    """Run token sequences through a network in one padded batch, and return the last hidden states.

    Returns:
        For each sequence of T tokens its states, D values per token, [T, D].
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
    """Return for each of T tokens which characters of the text it covers: start and end (exclusive), [T, 2]."""
    return np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)


def text_arrays(width: int, tokens: bool, row: str = "token") -> tuple[ArraySpec, ...]:
    """Declare `pooled` [1, width] and, if requested, the states and character spans of tokens (or words).

    The spans refer to the tidied text.
    """
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    states = ArraySpec("tokens", "sequence", (row, "dimension"), (width,))
    words = ArraySpec("words", "sequence", (row, "start_end"), (2,), "int32", "characters")
    return (pooled, states, words) if tokens else (pooled,)


def all_finite(arrays: dict[str, NDArray[Any]]) -> bool:
    """Return whether all values of all arrays are finite (neither NaN nor infinite)."""
    return all(np.isfinite(array).all() for array in arrays.values())
