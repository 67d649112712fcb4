"""Turns of dialogues in both directions of time, and who takes part in a dialogue."""

import torch
from torch import Tensor


def reversal_rows(mask: Tensor) -> Tensor:
    """Rows that reverse each dialogue within its own length; padding stays in place.

    Args:
        mask: bool [B, L]; utterances first, then padding.

    Returns:
        int [B * L], rows of the flattened dialogues.
    """
    position = torch.arange(mask.shape[1], device=mask.device)
    back = mask.sum(1, keepdim=True) - 1 - position
    start = torch.arange(len(mask), device=mask.device).unsqueeze(1) * mask.shape[1]
    return (start + back.where(mask, position)).flatten()


def to_direction_time(x: Tensor, back: Tensor) -> Tensor:
    """Order the turns of each direction by its own time: x[0] stays, x[1] (if there) is reversed.

    A second call restores the original order.

    Args:
        x: [R, B, L, ...], R directions.
        back: the result of `reversal_rows`.
    """
    if len(x) == 1:
        return x
    return torch.stack([x[0], x[1].flatten(0, 1).index_select(0, back).view(x[1].shape)])


def participants(speakers: Tensor, mask: Tensor) -> Tensor:
    """Which of P speakers take part in each dialogue, bool [B, P].

    Args:
        speakers: int [B, L], numbered from 0 in each dialogue.
        mask: bool [B, L].
    """
    known = speakers.where(mask, speakers[:, :1])  # padding repeats the first speaker, who takes part anyway
    here = mask.new_zeros(len(speakers), int(known.max()) + 1)
    return here.scatter(1, known, True)
