"""Decide which rows of a shard are encoded together: all of them, or as many in sequence as the memory allows.

The groups depend only on the rows' own media and on params. They do not depend on which other features are extracted,
or on the order in which files are read. So every run cuts a feature into the same groups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence


class RowGroups:
    """Collects the rows of a shard while their inputs arrive, separately for each feature.

    Args:
        rows: feature -> rows to encode, in increasing order.
        max_bytes: a group is complete when its inputs reach this size.
    """

    def __init__(self, rows: Mapping[str, Sequence[int]], max_bytes: float) -> None:
        self._waiting = {feature: list(numbers) for feature, numbers in rows.items() if numbers}
        self._open: dict[str, list[int]] = {feature: [] for feature in self._waiting}
        self._held = dict.fromkeys(self._waiting, 0)
        self._sizes: dict[str, dict[int, int]] = {feature: {} for feature in self._waiting}
        self._max_bytes = max_bytes

    def add(self, row: int, sizes: Mapping[str, int]) -> Iterator[tuple[str, list[int]]]:
        """Add a row and yield (feature, rows) of every group that it completes.

        Args:
            row: the row.
            sizes: feature whose inputs of the row have been read -> their size in bytes (0 for a text).
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
        """Whether a row still has to be encoded for any of the given features."""
        return any(row in self._waiting[name] or row in self._open[name] for name in features)
