"""Dot-product attention of the current turn (utterance) over all earlier turns of its dialogue."""

from collections.abc import Sequence

import torch
from torch import Tensor


def attend_to_history(keys: Sequence[Tensor], values: Sequence[Tensor], query: Tensor) -> Tensor:
    """Compute dot-product attention over the earlier turns k: sum_k softmax_k(key_k . query) value_k.

    Sizes: R directions, B dialogues, K values of a key, H values of a value vector.

    Args:
        keys: one key [R, B, K] for each earlier turn; at least one.
        values: one value [R, B, H] for each earlier turn.
        query: query of the current turn, [R, B, K].

    Returns:
        The weighted sum of the values, [R, B, H].
    """
    scores = torch.stack(list(keys), dim=2) @ query.unsqueeze(-1)  # [R, B, t, 1]
    past = torch.stack(list(values), dim=2)
    return (scores.softmax(2).mT @ past).squeeze(2)
