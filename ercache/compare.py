"""Compare two cache files: which utterances differ, and by how much. Memory holds one utterance at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ercache.cache import Array, CacheFile, Entry


@dataclass(frozen=True)
class Incomparable:
    """An array of one utterance whose values in two cache files cannot be subtracted, and why not."""

    utterance: str
    array: str
    why: str


@dataclass
class Comparison:
    """How two cache files, a and b, differ.

    Attributes:
        only_a: utterances that only file a has.
        only_b: utterances that only file b has.
        arrays_only_a: arrays that only file a has.
        arrays_only_b: arrays that only file b has.
        status: utterances whose status or reason for a missing feature differs: id -> (status and reason in a, status
            and reason in b).
        max_abs_diff: largest absolute difference of each array, by array name; None if no utterance could be compared.
        differing: utterances whose values differ: id -> largest absolute difference.
        unlike: arrays that cannot be compared, although the utterance has the feature in both files.
        compared: number of utterances that have the feature in both files.
    """

    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    arrays_only_a: list[str] = field(default_factory=list)
    arrays_only_b: list[str] = field(default_factory=list)
    status: dict[str, tuple[str, str]] = field(default_factory=dict)
    max_abs_diff: dict[str, float | None] = field(default_factory=dict)
    differing: dict[str, float] = field(default_factory=dict)
    unlike: list[Incomparable] = field(default_factory=list)
    compared: int = 0

    @property
    def equal(self) -> bool:
        """Whether both files hold the same utterances, arrays, statuses (has the feature or not) and values."""
        differences = (
            self.only_a,
            self.only_b,
            self.arrays_only_a,
            self.arrays_only_b,
            self.status,
            self.unlike,
        )
        return not any(differences) and not self.differing


def compare(a: CacheFile, b: CacheFile) -> Comparison:
    """Compare two open cache files: for each utterance, whether it has the feature, and its values.

    The files may hold different features. The order of the utterances does not matter.
    """
    result = Comparison(
        only_a=[u for u in a if u not in b],
        only_b=[u for u in b if u not in a],
        arrays_only_a=sorted(a.specs.keys() - b.specs.keys()),
        arrays_only_b=sorted(b.specs.keys() - a.specs.keys()),
        max_abs_diff=dict.fromkeys(sorted(a.specs.keys() & b.specs.keys())),
    )
    for utterance in (u for u in a if u in b):
        in_a, in_b = (_status(cache.entries[cache.row[utterance]]) for cache in (a, b))
        if in_a != in_b:
            result.status[utterance] = (in_a, in_b)
        elif in_a == "ok":
            result.compared += 1
            _compare_values(result, utterance, a[utterance], b[utterance])
    return result


def _status(entry: Entry) -> str:
    return f"{entry.status.value}: {entry.reason}" if entry.reason else entry.status.value


def _compare_values(
    result: Comparison, utterance: str, a: Mapping[str, Array], b: Mapping[str, Array]
) -> None:
    for name, largest in result.max_abs_diff.items():
        difference = max_abs_difference(a[name], b[name])
        if isinstance(difference, str):
            result.unlike.append(Incomparable(utterance, name, difference))
            continue
        result.max_abs_diff[name] = max(difference, largest or 0.0)
        if difference:
            result.differing[utterance] = max(difference, result.differing.get(utterance, 0.0))


def max_abs_difference(a: Array, b: Array) -> float | str:
    """Largest absolute difference |a - b| of two arrays, computed in float64.

    Where both arrays have the same value, or both have NaN, the difference is 0.

    Returns:
        The largest difference, as a number. If it cannot be computed, a text that says why: the shapes differ, or a
            value is NaN or infinite in only one array.
    """
    if a.shape != b.shape:
        return f"shapes {list(a.shape)} and {list(b.shape)}"
    same = (a == b) | ((a != a) & (b != b))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(a.astype(np.float64) - b.astype(np.float64)))
    if not np.isfinite(difference).all():
        return "values that are not finite in both"
    return float(difference.max(initial=0.0))
