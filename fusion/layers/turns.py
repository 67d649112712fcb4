"""Dialogues turn by turn, forward and backward at once: reversal within each dialogue's own length, participants."""

import torch
from torch import Tensor


def reversal(mask: Tensor) -> Tensor:
    """Rows [B L] of flat dialogues that reverse each one within its own length and leave its padding where it is.

    Args:
        mask: bool [B, L]; utterances first, padding behind them.
    """
    position = torch.arange(mask.shape[1], device=mask.device)
    back = mask.sum(1, keepdim=True) - 1 - position
    start = torch.arange(len(mask), device=mask.device).unsqueeze(1) * mask.shape[1]
    return (start + back.where(mask, position)).flatten()


def turned(x: Tensor, back: Tensor) -> Tensor:
    """A tensor in the order of its direction's time: x[0] stays, x[1] is reversed.

    The same call brings it back again.

    Args:
        x: [R, B, L, ...].
        back: what `reversal` gave.
    """
    if len(x) == 1:
        return x
    return torch.stack([x[0], x[1].flatten(0, 1).index_select(0, back).view(x[1].shape)])


def participants(speakers: Tensor, mask: Tensor) -> Tensor:
    """Who takes part: bool [B, P], for speakers [B, L] numbered from 0 in each dialogue."""
    known = speakers.where(mask, speakers[:, :1])  # padding repeats the first speaker, who takes part anyhow
    here = mask.new_zeros(len(speakers), int(known.max()) + 1)
    return here.scatter(1, known, True)
