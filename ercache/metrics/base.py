"""The class `Metric`, and the registry of all metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.registry import Registry, lacking
from ercache.training.selection import METRIC

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Counts of utterances, recall, precision and F1 of each of C classes, computed from confusion matrices.

    Args:
        counts: one or more confusion matrices, [..., C, C], where `...` are any leading dimensions. Rows are true
            classes, columns are predicted classes.
    """

    counts: NDArray[Any]

    @cached_property
    def hits(self) -> Floats:
        """Number of correctly predicted utterances of each of the C classes (true positives), [..., C]."""
        return np.diagonal(self.counts, axis1=-2, axis2=-1).astype(np.float64)

    @cached_property
    def support(self) -> Floats:
        """Number of utterances whose true label is each of the C classes, [..., C]."""
        found: Floats = self.counts.sum(-1).astype(np.float64)
        return found

    @cached_property
    def predicted(self) -> Floats:
        """Number of utterances that were predicted as each of the C classes, [..., C]."""
        found: Floats = self.counts.sum(-2).astype(np.float64)
        return found

    @cached_property
    def recall(self) -> Floats:
        """Recall of each of the C classes, [..., C]; 0 for a class without utterances."""
        return ratio(self.hits, self.support)

    @cached_property
    def precision(self) -> Floats:
        """Precision of each of the C classes, [..., C]; 0 for a class that is never predicted."""
        return ratio(self.hits, self.predicted)

    @cached_property
    def f1(self) -> Floats:
        """F1 of each of the C classes, [..., C]; 0 for a class that no utterance has as true or predicted label."""
        return ratio(2 * self.hits, self.support + self.predicted)


@dataclass(frozen=True)
class Metric:
    """A metric of predictions. Larger scores are better. It has either `of_rates` or `of_probabilities`.

    Attributes:
        key: name of the metric in run.json and in tables, such as `weighted_f1`.
        name: name of the metric for readers, such as `Weighted F1`.
        of_rates: function that computes scores [...] as fractions from the `Rates` of confusion matrices [..., C, C] of
            C classes.
        of_probabilities: function that computes one score from the true classes [N] and the predicted probabilities
            [N, C] of N utterances, for a metric that needs more than a confusion matrix. Multi-label tasks have no
            such metrics.
        classes: number of classes, if the metric exists only for label sets with this number; otherwise None. Metrics
            with such a number are not used for multi-label tasks.
    """

    key: str
    name: str
    of_rates: Callable[[Rates], Floats] | None = None
    of_probabilities: Callable[[Ints, Floats], float] | None = None
    classes: int | None = None

    @property
    def in_a_sentence(self) -> str:
        """Name of the metric as it stands in the middle of a sentence, for example `weighted F1`, but `UAR`."""
        return self.name if self.name.isupper() else self.name[0].lower() + self.name[1:]

    def fits(self, classes: int) -> bool:
        """Whether the metric exists for a label set with this number of classes."""
        return self.classes is None or self.classes == classes


def _faults(entry: Any) -> list[str]:
    found = lacking(entry, Metric)
    if not found and (entry.of_rates is None) == (entry.of_probabilities is None):
        found.append(f"{entry.key} must have one of `of_rates` and `of_probabilities`")
    return found


METRICS: Final = Registry[Metric]("ercache.metrics", "ercache.metrics", lambda metric: metric.key, _faults)


def in_order(classes: int) -> list[Metric]:
    """List the metrics that exist for a label set with `classes` classes: weighted F1 first, the others by key.

    Weighted F1 (`METRIC`) comes first because systems are compared by it.
    """
    fitting = (metric for metric in METRICS.values() if metric.fits(classes))
    return sorted(fitting, key=lambda metric: (metric.key != METRIC, metric.key))


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide two arrays element by element. The result is 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
