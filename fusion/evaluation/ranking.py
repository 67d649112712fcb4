"""Several systems on the same test dialogues: mean ranks, Friedman's test, and Nemenyi's critical difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from ercache.metrics import mean_scores
from ercache.training import METRIC
from fusion.evaluation.significance import Outcome

LEVEL = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Systems by mean rank, 1 the best.

    Attributes:
        names: of the systems, best first.
        ranks: their mean ranks over the dialogues.
        p: of Friedman's test that all systems are alike; nan where there are only two.
        difference: two mean ranks that differ by less are not told apart.
        alike: first and last place, each from 0, of every longest run of systems that are not told apart.
        dialogues: that were ranked.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    p: float
    difference: float
    alike: tuple[tuple[int, int], ...]
    dialogues: int


def ranking(outcomes: Sequence[Outcome]) -> Ranking:
    """Systems by their ranks on the dialogues of one test part.

    A dialogue is a block: its score is the weighted F1 inside it, mean over seeds (seeds are no blocks of their own,
    since all of them are tested on the same dialogues). Equal scores share the mean of their ranks.

    Args:
        outcomes: of at least two systems, on the same dialogues.

    Source: J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), sections 3.2.2
        and 3.2.4.
    """
    scores = np.stack([mean_scores(o.counts, leading=2)[METRIC].mean(0) for o in outcomes], axis=1)  # [D, K]
    ranks: Floats = rankdata(-np.round(scores, 12), axis=1).mean(0)
    order = sorted(range(len(outcomes)), key=lambda k: (ranks[k], outcomes[k].name))
    ordered = tuple(float(ranks[k]) for k in order)
    difference = critical_difference(len(outcomes), len(scores))
    many = len(outcomes) > 2  # with two, Friedman's is a sign test, and Nemenyi's says the same
    p = float(friedmanchisquare(*scores.T).pvalue) if many else float("nan")
    names = tuple(outcomes[k].name for k in order)
    return Ranking(names, ordered, p, difference, alike(ordered, difference), len(scores))


def critical_difference(systems: int, blocks: int) -> float:
    """CD = q sqrt(k (k + 1) / 6 N), q the 95 % point of the studentized range over sqrt 2 (Nemenyi)."""
    q = float(studentized_range.ppf(1 - LEVEL, systems, np.inf)) / sqrt(2)
    return q * sqrt(systems * (systems + 1) / (6 * blocks))


def alike(ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """The longest runs of ascending ranks whose ends differ by less than that, first and last place of each."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(k for k in range(first, len(ranks)) if ranks[k] - rank < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
