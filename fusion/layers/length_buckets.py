"""Length buckets: run utterances of similar lengths together, so that short ones are not mostly padding."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MIN_BUCKET = 32  # utterances of a bucket, except the last one
MIN_RATIO = 0.75  # of the longest utterance in the bucket: a shorter one starts a new bucket


def buckets_of(lengths: Tensor) -> list[Tensor]:
    """Sort N utterances into buckets of similar lengths.

    Args:
        lengths: number of steps of each utterance, [N].

    Returns:
        For each bucket, a tensor with the indices of its utterances. Buckets, and the utterances in a bucket, are
        sorted from long to short. If there is only one bucket, the utterances keep their order.
    """
    order = lengths.argsort(descending=True, stable=True)
    sizes, begins = lengths[order].tolist(), [0]
    for rank, size in enumerate(sizes):
        if rank - begins[-1] >= MIN_BUCKET and size < MIN_RATIO * sizes[begins[-1]]:
            begins.append(rank)
    if len(begins) == 1:
        return [torch.arange(len(lengths), device=lengths.device)]
    return list(torch.tensor_split(order, begins[1:]))


def map_by_bucket(lengths: Tensor, run: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
    """Run a function on buckets of utterances of similar lengths, and join the results in the original order.

    Args:
        lengths: number of steps of each of N utterances, [N].
        run: function of one bucket: takes the indices [n] of its n utterances, and returns tensors [n, ...]. The result
            for an utterance must not depend on other utterances.

    Returns:
        The joined tensors [N, ...], as many as `run` returns.
    """
    buckets = buckets_of(lengths)
    parts = [run(ranks) for ranks in buckets]
    back = torch.cat(buckets).argsort()
    return [torch.cat(found)[back] for found in zip(*parts, strict=True)]
