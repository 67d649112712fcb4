"""What a metric is, and the registry of metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.registry import Registry, lacking
from ercache.training import METRIC

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """What confusion matrices say of each class.

    Args:
        counts: [..., C, C], rows true, columns predicted.
    """

    counts: NDArray[Any]

    @cached_property
    def hits(self) -> Floats:
        """True positives, [..., C]."""
        return np.diagonal(self.counts, axis1=-2, axis2=-1).astype(np.float64)

    @cached_property
    def support(self) -> Floats:
        """True utterances, [..., C]."""
        found: Floats = self.counts.sum(-1).astype(np.float64)
        return found

    @cached_property
    def predicted(self) -> Floats:
        """Predicted utterances, [..., C]."""
        found: Floats = self.counts.sum(-2).astype(np.float64)
        return found

    @cached_property
    def recall(self) -> Floats:
        """Hits over support, [..., C]; 0 without support."""
        return ratio(self.hits, self.support)

    @cached_property
    def precision(self) -> Floats:
        """Hits over predicted utterances, [..., C]; 0 for a class that is never predicted."""
        return ratio(self.hits, self.predicted)

    @cached_property
    def f1(self) -> Floats:
        """F1, [..., C]; 0 for a class that is neither true nor predicted."""
        return ratio(2 * self.hits, self.support + self.predicted)


@dataclass(frozen=True)
class Metric:
    """A metric of predictions; larger is better.

    Attributes:
        key: its name in run.json and in tables.
        name: for people.
        of_rates: rates of confusion matrices [..., C, C] -> [...], as fractions.
        of_probabilities: (truth [N], probabilities [N, C]) -> a number; for a metric that no confusion matrix gives.
            Either this or `of_rates` is there. It is left out where an utterance may have several labels.
    """

    key: str
    name: str
    of_rates: Callable[[Rates], Floats] | None = None
    of_probabilities: Callable[[Ints, Floats], float] | None = None


def _faults(entry: Any) -> list[str]:
    found = lacking(entry, Metric)
    if not found and (entry.of_rates is None) == (entry.of_probabilities is None):
        found.append(f"{entry.key} must have one of `of_rates` and `of_probabilities`")
    return found


METRICS: Final = Registry[Metric]("ercache.metrics", "ercache.metrics", lambda metric: metric.key, _faults)


def in_order() -> list[Metric]:
    """All metrics; the one by which systems are compared is the first."""
    return sorted(METRICS.values(), key=lambda metric: (metric.key != METRIC, metric.key))


def ratio(above: Floats, below: Floats) -> Floats:
    """Element by element; 0 where the lower one is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
