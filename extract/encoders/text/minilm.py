"""A small encoder of transcripts: sentence vectors by all-MiniLM-L6-v2 (docs/encoders.md#text-networks).

Its weights come with a Python package, so nothing needs to be downloaded separately.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample

if TYPE_CHECKING:
    from torch import nn

WIDTH = 384
MOST_TOKENS = 256  # including [CLS] and [SEP]; the model's own limit, while the tokenizer allows 512


class MiniLMParams(Strict):
    """Parameters of `text/minilm`.

    Attributes:
        tokens: also keep the state of every token and which characters of the text it covers.
    """

    tokens: bool = True


class MiniLM:
    """Computes a sentence vector of a transcript with MiniLM, a BERT of 6 layers that ignores case.

    The vector (`pooled`) is the mean of the token states, scaled to length 1. Text is cut after 256 tokens. In the
    result, `frames` is the number of tokens used, without [CLS] and [SEP].

    Raises:
        WeightsError: the weight files of the Python package are absent or damaged.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="text/minilm",
        modality="text",
        summary="all-MiniLM-L6-v2 sentence vector and token states",
        batch="mask",
        version=1,
        licence="Apache-2.0",
        weights="minilm",
    )
    Params: ClassVar[type[BaseModel]] = MiniLMParams

    def __init__(self, params: MiniLMParams, device: str = "cpu", weights: Weights | None = None) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers.models.bert.configuration_bert import BertConfig
        from transformers.models.bert.modeling_bert import BertModel

        self.params = params
        self.device = torch.device(device)
        handle = weights or Weights("minilm")
        self._tokenizer = Tokenizer.from_file(str(handle.path("tokenizer.json")))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        config = BertConfig.from_json_file(str(handle.path("config.json")))
        config._attn_implementation = "sdpa"
        # The sentence model never used BERT's pooler; position_ids is a constant that older versions stored.
        network: nn.Module = handle.network(
            lambda: BertModel(config, add_pooling_layer=False), drop=("pooler.", "embeddings.position_ids")
        )
        self._network = network.to(self.device)

    @staticmethod
    def input(params: MiniLMParams) -> Input:
        """Declare which input the encoder needs: the transcript of the utterance."""
        return Input(text=True)

    @staticmethod
    def arrays(params: MiniLMParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, 384], the sentence vector; with the param `tokens` also `tokens` and `words`.

        `tokens` [T, 384] holds the states of the T tokens, `words` [T, 2] the characters that each token covers: start
        and end (exclusive).
        """
        pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (WIDTH,))
        tokens = ArraySpec("tokens", "sequence", ("token", "dimension"), (WIDTH,))
        words = ArraySpec("words", "sequence", ("token", "start_end"), (2,), "int32", "characters")
        return (pooled, tokens, words) if params.tokens else (pooled,)

    def length(self, sample: Sample) -> int:
        """Return the number of tokens of the text, including [CLS] and [SEP]."""
        return len(self._tokenizer.encode(sample.text or "").ids)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run all transcripts through MiniLM in one padded batch.

        Returns:
            For each transcript, the arrays that `arrays` declares; a `Missing` for one without any token.
        """
        texts = [sample.text or "" for sample in samples]
        # A text may consist of characters that give no token, so tokens are counted, not characters.
        encodings = self._tokenizer.encode_batch(texts)
        results: list[Encoded | Missing] = [Missing(Reason.NO_TEXT) for _ in samples]
        rows = [n for n, encoding in enumerate(encodings) if len(encoding.ids) > 2]
        if rows:
            states = self._states([encodings[n].ids for n in rows])
            for n, state in zip(rows, states, strict=True):
                results[n] = self._result(state, encodings[n].offsets)
        return results

    def _states(self, ids: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return for each text the last hidden states of its T tokens, [T, 384], including [CLS] and [SEP]."""
        import torch

        longest = max(map(len, ids))
        padded = torch.zeros((len(ids), longest), dtype=torch.long)
        mask = torch.zeros_like(padded)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        with torch.inference_mode():
            output = self._network(input_ids=padded.to(self.device), attention_mask=mask.to(self.device))
        hidden = output.last_hidden_state.float().cpu().numpy()  # [B, longest, 384]
        return [hidden[row, : len(tokens)] for row, tokens in enumerate(ids)]

    def _result(self, state: NDArray[np.float32], offsets: Sequence[tuple[int, int]]) -> Encoded | Missing:
        mean = state.mean(axis=0, keepdims=True)
        pooled = mean / np.linalg.norm(mean)
        if not np.isfinite(pooled).all():
            return Missing(Reason.FAULT, "the sentence vector is not finite")
        arrays = {"pooled": pooled}
        if self.params.tokens:
            arrays["tokens"] = np.ascontiguousarray(state[1:-1])
            arrays["words"] = np.asarray(offsets[1:-1], dtype=np.int32)
        return Encoded(arrays, frames=len(state) - 2)


ENTRY: Final[EncoderKind] = MiniLM
