"""Mean ranks of systems over dialogues, and which systems do not differ significantly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from fusion.evaluation.ranking import critical_difference, indistinguishable_groups, rank_systems
from fusion.evaluation.scored_run import ScoredRun

WHOLE_DIALOGUES = 12


def outcome(name: str, right: list[int], seeds: int = 2) -> ScoredRun:
    """A system that is right on `right[d]` of the 4 utterances of dialogue d; each of two classes has two."""
    counts = np.zeros((seeds, len(right), 2, 2), dtype=np.int64)
    for d, n in enumerate(right):
        first, second = (n + 1) // 2, n // 2
        counts[:, d] = [[first, 2 - first], [2 - second, second]]
    return ScoredRun(name, counts, np.zeros(4 * len(right), dtype=bool))


def test_the_critical_difference_is_that_of_the_published_example() -> None:
    # Demsar 2006, section 3.2.4: four classifiers on 14 data sets; q = 2.569, printed as 1.25
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


def test_a_system_that_is_always_better_has_rank_one_and_no_group() -> None:
    found = rank_systems([outcome("worst", [0] * WHOLE_DIALOGUES), outcome("best", [4] * WHOLE_DIALOGUES),
                     outcome("middle", [2] * WHOLE_DIALOGUES)])  # fmt: skip
    assert found.names == ("best", "middle", "worst") and found.ranks == (1.0, 2.0, 3.0)
    assert found.dialogues == WHOLE_DIALOGUES and found.difference == pytest.approx(
        critical_difference(3, 12)
    )
    assert (
        found.p == pytest.approx(friedmanchisquare([1] * 12, [0] * 12, [0.5] * 12).pvalue) and found.p < 0.01
    )
    assert found.groups == ((0, 1), (1, 2)) if found.difference > 1 else found.groups == ()


def test_equal_systems_share_their_rank_and_form_a_group() -> None:
    right = [d % 5 for d in range(WHOLE_DIALOGUES)]
    found = rank_systems([outcome("a", right), outcome("b", right), outcome("c", [0] * WHOLE_DIALOGUES)])
    assert found.ranks[0] == found.ranks[1] < found.ranks[2]
    assert any(first <= 0 and last >= 1 for first, last in found.groups)


def test_seeds_are_averaged_before_they_are_ranked() -> None:
    once, often = outcome("a", [3] * WHOLE_DIALOGUES, seeds=1), outcome("b", [3] * WHOLE_DIALOGUES, seeds=5)
    assert rank_systems([once, often]).ranks == (1.5, 1.5)


@given(
    st.lists(st.floats(1, 20), min_size=2, max_size=15).map(sorted),
    st.floats(0.01, 10),
)
def test_two_systems_share_a_group_exactly_if_their_ranks_differ_by_less(
    ranks: list[float], difference: float
) -> None:
    bars = indistinguishable_groups(ranks, difference)
    for a in range(len(ranks)):
        for b in range(a + 1, len(ranks)):
            joined = any(first <= a and b <= last for first, last in bars)
            assert joined == (ranks[b] - ranks[a] < difference)
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(bars))
