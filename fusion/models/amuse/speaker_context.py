"""Each speaker's utterances of a dialogue as a sequence of their own, and back."""

import torch
from torch import Tensor


def by_speaker(x: Tensor, speakers: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sub-sequences of the speakers of dialogues.

    Args:
        x: [B, L, D]; speakers: int [B, L], numbered from 0 in each dialogue; mask: bool [B, L].

    Returns:
        The sub-sequences [G, T, D], their lengths [G], and the row [B * L] of each utterance in the flat [G * T];
        padding has row 0.
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


def of_speakers(states: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """States [G, T, H] of sub-sequences in the order of their dialogues, [B, L, H]; 0 on padding."""
    told = states.flatten(0, 1)[rows].view(*mask.shape, -1)
    return told * mask.unsqueeze(-1)
