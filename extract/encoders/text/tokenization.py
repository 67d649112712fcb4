"""What the text encoders share: the checkpoint's own tokenizer, forwards of padded batches, places in the text."""

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
from extract.text.dialogue_context import Marks

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor, nn

START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"  # ids 0 to 3 in RoBERTa and MPNet


def open_tokenizer(weights: Weights) -> "Tokenizer":
    """The checkpoint's (or our own extractor's) tokenizer, or with random weights, which have none, `byte_tokenizer`.

    What a transcript says is text, even if it looks like `</s>`.

    Raises:
        WeightsError: the file is absent or damaged.
    """
    from tokenizers import Tokenizer

    if weights.random is not None:
        return text_only(byte_tokenizer())
    own = weights.key.startswith(PREFIX)
    name = weights.key.removeprefix(PREFIX)
    path = extractor_file(weights.data, name, TOKENIZER) if own else weights.path(TOKENIZER)
    return text_only(Tokenizer.from_file(str(path)))


def text_only(tokenizer: "Tokenizer") -> "Tokenizer":
    """A tokenizer that pads and cuts nothing and takes marks inside a text for text."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def byte_tokenizer() -> "Tokenizer":
    """A stand-in without a vocabulary: `<s> <pad> </s> <unk>`, then the 256 bytes of UTF-8 as tokens 4 to 259.

    It gives about four times as many tokens as the real one does. Features made with it say `random` in their
    provenance, as it comes with random weights only.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    names = [START, PAD, END, UNKNOWN, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: n for n, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing((END, 2), (START, 0), add_prefix_space=False)
    tokenizer.add_special_tokens(names[:4])
    return tokenizer


def marks_of(tokenizer: "Tokenizer") -> Marks:
    """Ids of `<s>` and `</s>`.

    Raises:
        WeightsError: the tokenizer has none, so it is not that of a RoBERTa.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    if start is None or end is None:
        raise WeightsError(
            f"tokenizer.json has no token {START} or {END}", hint="is it the tokenizer of a RoBERTa?"
        )
    return Marks(start, end)


def hidden_states(
    network: "nn.Module", ids: Sequence[Sequence[int]], device: str, pad: int = PAD_ID
) -> list[FloatArray]:
    """Last hidden states of each sequence, [T, D], by one forward with mask."""
    import torch

    padded, mask = padded_rows(ids, pad)
    with torch.inference_mode():
        output = network(input_ids=padded.to(device), attention_mask=mask.to(device))
    hidden = output.last_hidden_state.float().cpu().numpy()  # [B, longest, D]
    return [hidden[row, : len(tokens)] for row, tokens in enumerate(ids)]


def padded_rows(ids: Sequence[Sequence[int]], pad: int = PAD_ID) -> tuple["Tensor", "Tensor"]:
    """Sequences as one table [B, longest], and where it holds tokens (1) or padding (0)."""
    import torch

    padded = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return padded, mask


def places(encoding: "Encoding") -> NDArray[np.int32]:
    """Characters of the text that each token covers, [T, 2] as [start, end)."""
    return np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)


def text_arrays(width: int, tokens: bool, row: str = "token") -> tuple[ArraySpec, ...]:
    """`pooled`; with `tokens` also a state for each token (or word) and its stretch of the tidied text."""
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    states = ArraySpec("tokens", "sequence", (row, "dimension"), (width,))
    words = ArraySpec("words", "sequence", (row, "start_end"), (2,), "int32", "characters")
    return (pooled, states, words) if tokens else (pooled,)


def finite(arrays: dict[str, NDArray[Any]]) -> bool:
    """Whether all numbers are."""
    return all(np.isfinite(array).all() for array in arrays.values())
