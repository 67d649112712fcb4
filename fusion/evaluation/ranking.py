"""Ranks several systems on the same test dialogues: mean ranks, Friedman's test, Nemenyi's critical difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from ercache.metrics import mean_scores
from ercache.training.selection import METRIC
from fusion.evaluation.scored_run import ScoredRun

LEVEL = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """A ranking of systems by their mean rank over the test dialogues; rank 1 is the best.

    Attributes:
        names: names of the systems, best first.
        ranks: mean rank of each system, in the order of `names`.
        p: p value of Friedman's test (null hypothesis: all systems are equal); nan for two systems.
        difference: the critical difference. Systems whose mean ranks differ by less are not significantly different.
        groups: groups of neighbouring systems that do not differ significantly. A group is given by two indices in
            `names`: that of its first and that of its last system. No group lies inside another one.
        dialogues: number of test dialogues.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    p: float
    difference: float
    groups: tuple[tuple[int, int], ...]
    dialogues: int


def rank_systems(runs: Sequence[ScoredRun]) -> Ranking:
    """Rank systems by their scores on each dialogue of the same test subset.

    Each dialogue is a block of Friedman's test. A system's score in a block is its weighted F1 on this dialogue,
    averaged over seeds. (Seeds do not make further blocks: all seeds are tested on the same dialogues.) Systems with
    equal scores share the mean of their ranks.

    Args:
        runs: at least two systems, tested on the same dialogues.

    Source: J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), sections 3.2.2
        and 3.2.4.
    """
    scores = np.stack([mean_scores(o.counts, leading=2)[METRIC].mean(0) for o in runs], axis=1)  # [D, K]
    ranks: Floats = rankdata(-np.round(scores, 12), axis=1).mean(0)
    order = sorted(range(len(runs)), key=lambda k: (ranks[k], runs[k].name))
    ordered = tuple(float(ranks[k]) for k in order)
    difference = critical_difference(len(runs), len(scores))
    many = len(runs) > 2  # with two systems Friedman's test is a sign test, and Nemenyi's says the same
    p = float(friedmanchisquare(*scores.T).pvalue) if many else float("nan")
    names = tuple(runs[k].name for k in order)
    return Ranking(names, ordered, p, difference, indistinguishable_groups(ordered, difference), len(scores))


def critical_difference(systems: int, blocks: int) -> float:
    """Return Nemenyi's critical difference CD = q sqrt(k (k + 1) / (6 N)) of mean ranks, at the 5 % level.

    q is the 95 % point of the studentized range, divided by sqrt(2).

    Args:
        systems: number k of systems.
        blocks: number N of blocks (dialogues).
    """
    q = float(studentized_range.ppf(1 - LEVEL, systems, np.inf)) / sqrt(2)
    return q * sqrt(systems * (systems + 1) / (6 * blocks))


def indistinguishable_groups(ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """Group neighbouring systems whose mean ranks differ by less than the critical difference.

    Args:
        ranks: mean ranks of the systems in ascending order.
        difference: the critical difference.

    Returns:
        For each group, two indices in `ranks`: that of its first and that of its last system. A group has at least two
        systems, and no group lies inside another one.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(k for k in range(first, len(ranks)) if ranks[k] - rank < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
