"""Divide the inputs of a shard (a list of utterances) into groups that are encoded together and fit into memory.

A group consists of successive inputs of the shard; a small shard is one group. The groups of a feature depend only on
params.yaml and on the size of its inputs, not on other features or on the order in which files are read. So every run
forms the same groups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence


class RowGroups:
    """Collects the inputs of a shard while they are read, and forms groups of inputs to encode, separately per feature.

    Args:
        rows: feature -> indices of the inputs to encode, in increasing order.
        max_bytes: a group is complete when its inputs reach this size in memory.
    """

    def __init__(self, rows: Mapping[str, Sequence[int]], max_bytes: float) -> None:
        self._waiting = {feature: list(numbers) for feature, numbers in rows.items() if numbers}
        self._open: dict[str, list[int]] = {feature: [] for feature in self._waiting}
        self._held = dict.fromkeys(self._waiting, 0)
        self._sizes: dict[str, dict[int, int]] = {feature: {} for feature in self._waiting}
        self._max_bytes = max_bytes

    def add(self, row: int, sizes: Mapping[str, int]) -> Iterator[tuple[str, list[int]]]:
        """Take note that the media of an input have been read.

        Args:
            row: index of the input in the shard.
            sizes: feature that is computed from this input -> size of the media that it uses, bytes (0 for a text).

        Yields:
            (feature, indices of the inputs) for each group that is now complete and can be encoded.
        """
        for feature, nbytes in sizes.items():
            waiting, arrived = self._waiting[feature], self._sizes[feature]
            arrived[row] = nbytes
            while waiting and waiting[0] in arrived:
                number = waiting.pop(0)
                self._open[feature].append(number)
                self._held[feature] += arrived[number]
                if self._held[feature] >= self._max_bytes or not waiting:
                    rows, self._open[feature], self._held[feature] = self._open[feature], [], 0
                    yield feature, rows

    def is_needed(self, row: int, features: Iterable[str]) -> bool:
        """Return whether input number `row` still waits to be encoded for one of the given features."""
        return any(row in self._waiting[name] or row in self._open[name] for name in features)
