"""Divide inputs into batches. The inputs of one batch run through a network together."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

PADDING = 0.05  # largest share of padding in a batch


def make_batches(lengths: Sequence[int], rule: Literal["mask", "equal", "one"], most: int) -> list[list[int]]:
    """Divide inputs of an encoder into batches; every input is in exactly one batch.

    Args:
        lengths: length of each input, for example its number of samples or tokens.
        rule: `mask`: a batch holds inputs of similar length, because the encoder pads them to the longest (at most 5 %
            padding). `equal`: all inputs of a batch have the same length. `one`: each input is a batch of its own.
        most: largest number of inputs in a batch.

    Returns:
        The batches. Each batch is a list of indices into `lengths`.
    """
    if rule == "one":
        return [[n] for n in range(len(lengths))]
    order = sorted(range(len(lengths)), key=lambda n: lengths[n])
    if rule == "mask":
        return _padded(order, lengths, most)
    equal: dict[int, list[int]] = defaultdict(list)
    for n in order:
        equal[lengths[n]].append(n)
    return [group[i : i + most] for group in equal.values() for i in range(0, len(group), most)]


def _padded(order: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    batches: list[list[int]] = []
    total = 0
    for n in order:  # by increasing length: the others are padded to the new input
        batch = batches[-1] if batches else []
        padded = lengths[n] * (len(batch) + 1)
        if batch and len(batch) < most and padded - (total + lengths[n]) <= PADDING * padded:
            batch.append(n)
            total += lengths[n]
        else:
            batches.append([n])
            total = lengths[n]
    return batches
