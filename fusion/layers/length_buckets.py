"""Utterances of similar lengths at once: in a batch most of the steps of short ones would be padding."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LEAST = 32  # utterances of a group, but for the last one
SHORTER = 0.75  # of the longest of its group: shorter ones begin another


def alike(lengths: Tensor) -> list[Tensor]:
    """The ranks of N utterances in groups of similar lengths [N], the longest first; all alike keep their order."""
    order = lengths.argsort(descending=True, stable=True)
    sizes, begins = lengths[order].tolist(), [0]
    for rank, size in enumerate(sizes):
        if rank - begins[-1] >= LEAST and size < SHORTER * sizes[begins[-1]]:
            begins.append(rank)
    if len(begins) == 1:
        return [torch.arange(len(lengths), device=lengths.device)]
    return list(torch.tensor_split(order, begins[1:]))


def each_alike(lengths: Tensor, run: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
    """What `run` makes of the ranks of each group, [n, ...], as of all utterances [N, ...] in their order.

    The results of one utterance must depend on no other.
    """
    groups = alike(lengths)
    parts = [run(ranks) for ranks in groups]
    back = torch.cat(groups).argsort()
    return [torch.cat(found)[back] for found in zip(*parts, strict=True)]
