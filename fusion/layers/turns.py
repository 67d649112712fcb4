"""Reverses the turns of padded dialogues in time, and finds the speakers who take part in a dialogue."""

import torch
from torch import Tensor


def reversal_rows(mask: Tensor) -> Tensor:
    """Return the order of utterances that reverses each padded dialogue in time; padding stays at the end.

    Args:
        mask: bool [B, L] for B dialogues with L positions; True for the utterances, then False for padding.

    Returns:
        int [B * L]; indices into the flattened batch. Indexing with them reverses the dialogues.
    """
    position = torch.arange(mask.shape[1], device=mask.device)
    back = mask.sum(1, keepdim=True) - 1 - position
    start = torch.arange(len(mask), device=mask.device).unsqueeze(1) * mask.shape[1]
    return (start + back.where(mask, position)).flatten()


def to_direction_time(x: Tensor, back: Tensor) -> Tensor:
    """Reverse the turns of the backward direction x[1]; the forward direction x[0] stays.

    A second call restores the original order.

    Args:
        x: any values of the turns, [R, B, L, ...], for R directions (1: forward only; 2: forward and backward),
            B dialogues and L turns.
        back: the result of `reversal_rows` for these dialogues.
    """
    if len(x) == 1:
        return x
    return torch.stack([x[0], x[1].flatten(0, 1).index_select(0, back).view(x[1].shape)])


def participants(speakers: Tensor, mask: Tensor) -> Tensor:
    """Return which of P speakers take part in each of B dialogues, bool [B, P].

    Args:
        speakers: int [B, L]; speaker index of each of the L utterances, from 0 in each dialogue.
        mask: bool [B, L]; False for padding.
    """
    known = speakers.where(mask, speakers[:, :1])  # padding repeats the first speaker, who takes part anyway
    here = mask.new_zeros(len(speakers), int(known.max()) + 1)
    return here.scatter(1, known, True)
