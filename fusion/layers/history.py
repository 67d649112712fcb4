"""Attention of the turn at hand over the turns before it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def attended(keys: Sequence[Tensor], values: Sequence[Tensor], query: Tensor) -> Tensor:
    """sum_k softmax_k(key_k . query) value_k.

    Args:
        keys: of each earlier turn, [R, B, K]; at least one.
        values: of each earlier turn, [R, B, H].
        query: [R, B, K].

    Returns:
        [R, B, H].
    """
    scores = torch.stack(list(keys), dim=2) @ query.unsqueeze(-1)  # [R, B, t, 1]
    past = torch.stack(list(values), dim=2)
    return (scores.softmax(2).mT @ past).squeeze(2)
