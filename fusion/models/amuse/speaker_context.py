"""Splits dialogues into one sequence for each speaker, and merges them again."""

import torch
from torch import Tensor


def split_by_speaker(x: Tensor, speakers: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split each dialogue into one sequence for each speaker, with the speaker's own utterances in order.

    Args:
        x: features of the utterances, [B, L, D]: B dialogues, L utterances, D features.
        speakers: int [B, L]; speaker index of each utterance, from 0 in each dialogue.
        mask: bool [B, L]; False for padding.

    Returns:
        Three tensors: the G sequences, padded to T utterances, [G, T, D]; the number of utterances of each sequence,
        [G]; int [B * L], the row of each utterance in the flattened sequences [G * T] (0 for padding).
    """
    places = mask.flatten().nonzero().flatten()
    row = places // mask.shape[1]
    own = row * (int(speakers.max()) + 1) + speakers.flatten()[places]
    _, group, lengths = torch.unique(own, return_inverse=True, return_counts=True)
    order = torch.argsort(group, stable=True)
    before = (lengths.cumsum(0) - lengths)[group[order]]
    rank = torch.empty_like(group)
    rank[order] = torch.arange(len(order), device=x.device) - before
    longest = int(lengths.max())
    at = group * longest + rank
    gathered = x.new_zeros(len(lengths) * longest, x.shape[2]).index_copy(0, at, x.flatten(0, 1)[places])
    rows = at.new_zeros(mask.numel()).index_copy(0, places, at)
    return gathered.view(len(lengths), longest, -1), lengths, rows


def merge_speakers(states: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """Put the states of the speakers' sequences back into the order of the dialogues (undoes `split_by_speaker`).

    Args:
        states: LSTM states of the G speakers' sequences, [G, T, H]: T utterances, H values of a state.
        rows: int [B * L] for B dialogues with L utterances, as returned by `split_by_speaker`.
        mask: bool [B, L]; False for padding.

    Returns:
        States in the order of the dialogues, [B, L, H]; 0 on padding.
    """
    merged = states.flatten(0, 1)[rows].view(*mask.shape, -1)
    return merged * mask.unsqueeze(-1)
