"""Forwards: which inputs of a shard share one pass through a network."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

PADDING = 0.05  # largest share of a padded forward that is padding


def forwards(lengths: Sequence[int], rule: Literal["mask", "equal", "one"], most: int) -> list[list[int]]:
    """Cut inputs into forwards, as numbers of inputs; every input stands in one of them.

    Args:
        lengths: what inputs are padded to (`mask`) or must have in common (`equal`); `one` lets each go alone.
        most: largest number of inputs in one forward.
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
    for n in order:  # by rising length: the newcomer is what the others are padded to
        together = batches[-1] if batches else []
        padded = lengths[n] * (len(together) + 1)
        if together and len(together) < most and padded - (total + lengths[n]) <= PADDING * padded:
            together.append(n)
            total += lengths[n]
        else:
            batches.append([n])
            total = lengths[n]
    return batches
