"""Which rows of a shard are encoded together: all of them, or as many in a row as the memory allows.

The cuts follow from the rows' own media and the params alone, never from what else is extracted or from the order in
which files are read, so that a feature is cut alike in every run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence


class Groups:
    """Collects the rows of a shard as their inputs arrive, those of each feature for itself.

    Args:
        rows: feature -> rows to encode, rising.
        most: bytes of inputs with which a group is closed.
    """

    def __init__(self, rows: Mapping[str, Sequence[int]], most: float) -> None:
        self._waiting = {feature: list(numbers) for feature, numbers in rows.items() if numbers}
        self._open: dict[str, list[int]] = {feature: [] for feature in self._waiting}
        self._held = dict.fromkeys(self._waiting, 0)
        self._sizes: dict[str, dict[int, int]] = {feature: {} for feature in self._waiting}
        self._most = most

    def arrive(self, row: int, sizes: Mapping[str, int]) -> Iterator[tuple[str, list[int]]]:
        """Take in a row of some features; features and rows of the groups that are complete with it.

        Args:
            sizes: each feature whose inputs of that row are read -> their bytes; none for a text.
        """
        for feature, nbytes in sizes.items():
            waiting, arrived = self._waiting[feature], self._sizes[feature]
            arrived[row] = nbytes
            while waiting and waiting[0] in arrived:
                number = waiting.pop(0)
                self._open[feature].append(number)
                self._held[feature] += arrived[number]
                if self._held[feature] >= self._most or not waiting:
                    rows, self._open[feature], self._held[feature] = self._open[feature], [], 0
                    yield feature, rows

    def needs(self, row: int, features: Iterable[str]) -> bool:
        """Whether a row is still to be encoded for any of some features."""
        return any(row in self._waiting[name] or row in self._open[name] for name in features)
