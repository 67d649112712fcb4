"""Significance tests between runs on the same test subset: bootstrap, McNemar's test, and a paired t-test."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from ercache.errors import UsageError
from ercache.metrics import (
    DRAWS,
    mean_scores,
    percentiles,
    resampled_means,
    rng_draws,
)
from ercache.params.load import suggestion
from ercache.training.selection import METRIC
from fusion.evaluation.scored_run import ScoredRun, read_scored_runs

TINY = 1e-12  # differences of scores below this are rounding


def compare(run_dirs: Sequence[Path], metric: str | None = None) -> list[dict[str, Any]]:
    """Test for every pair of runs whether their scores on the test subset differ significantly.

    Args:
        run_dirs: at least two run folders.
        metric: key of the metric to compare. None for the metric by which the runs chose their best epochs; if the runs
            used different ones, weighted F1.

    Returns:
        One row for each pair of runs:

        - `a`, `b`: names of the two runs.
        - `metric`: key of the compared metric.
        - `difference`: score of a minus score of b, means over seeds.
        - `ci95`: 95 % bootstrap interval of the difference. Both runs get the same draws of dialogues, but each run
          gets draws of seeds of its own.
        - `p`: two-sided p value of the bootstrap, Holm-corrected over all pairs.
        - `p_mcnemar`: p value of the exact McNemar test on majority votes of the seeds, Holm-corrected.
        - `p_t`: p value of the two-sided paired t-test, Holm-corrected. A pair is the scores of both runs for the same
          seed (and fold). None with fewer than two pairs.
        - `trainings`: number of these pairs.
        - `only_a_right`, `only_b_right`: number of utterances that only run a, or only run b, predicts correctly.
        - `marks_a`, `marks_b`: notes that must stand beside the results.

    Raises:
        UsageError: there are fewer than two runs, they were not tested on the same utterances and labels, or their
            predictions are damaged; or the metric does not exist for these labels.
    """
    folders = [Path(folder) for folder in run_dirs]
    if len(folders) < 2:
        raise UsageError("nothing to compare", hint="name at least two run folders")
    outcomes = read_scored_runs(folders)
    chosen = _metric_of(metric, outcomes)
    rows = [
        compare_pair(a, b, chosen) | {"marks_a": list(a.marks), "marks_b": list(b.marks)}
        for a, b in combinations(outcomes, 2)
    ]
    for key in ("p", "p_mcnemar", "p_t"):
        held = [row for row in rows if row[key] is not None]
        for row, value in zip(held, holm([row[key] for row in held]) if held else (), strict=True):
            row[key] = value
    return rows


def _metric_of(asked: str | None, runs: Sequence[ScoredRun]) -> str:
    """Return the key of the metric by which runs are compared.

    It is `asked`, if the user names one. Else it is the metric by which all runs chose their best epochs, or weighted
    F1 if the runs used different ones.

    Raises:
        UsageError: the metric `asked` does not exist for the labels of the runs.
    """
    selected = {run.select for run in runs}
    if asked is None:
        return selected.pop() if len(selected) == 1 else METRIC
    known = mean_scores(runs[0].counts.sum(1), leading=1)
    if asked not in known:
        raise UsageError(f"unknown metric {asked!r} for these runs", hint=suggestion(asked, known))
    return asked


def compare_pair(a: ScoredRun, b: ScoredRun, metric: str = METRIC) -> dict[str, Any]:
    """Compare two runs by bootstrap, McNemar's test and t-test; return one row of `compare`'s result.

    The p values are not yet Holm-corrected, and the notes (marks) are missing.
    """
    observed = [mean_scores(o.counts.sum(1), leading=1)[metric].mean() for o in (a, b)]
    # Both runs get the same draws of dialogues, so the bootstrap is paired over dialogues.
    # Seeds of different runs are unrelated, so each run gets its own draws of seeds.
    rng = np.random.default_rng(0)
    drawn = rng_draws(rng, a.counts.shape[1], DRAWS)
    first, second = (
        resampled_means(o.counts, rng_draws(rng, o.counts.shape[0], DRAWS), drawn)[metric] for o in (a, b)
    )
    only_a, only_b = int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum())
    shared = [training for training in a.trainings if training in b.trainings]
    ours, theirs = ([o.trainings[training][metric] for training in shared] for o in (a, b))
    return {
        "a": a.name,
        "b": b.name,
        "metric": metric,
        "difference": float(observed[0] - observed[1]),
        "ci95": list(percentiles(first - second)),
        "p": bootstrap_p(first - second),
        "p_mcnemar": mcnemar_p(only_a, only_b),
        "p_t": paired_t_p(ours, theirs),
        "trainings": len(shared),
        "only_a_right": only_a,
        "only_b_right": only_b,
    }


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the p value of the exact two-sided McNemar test between two runs.

    Args:
        only_a: number of utterances that only run a predicts correctly.
        only_b: number of utterances that only run b predicts correctly.
    """
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def paired_t_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the p value of the two-sided paired t-test; None with fewer than two pairs.

    If all pairs have the same difference, there is no variance: p is 1 for no difference, else 0.

    Args:
        first, second: scores of two runs; scores at the same place belong to the same seed and fold.
    """
    if len(first) < 2:
        return None
    differences = np.subtract(first, second)
    if np.ptp(differences) < TINY:
        return float(abs(differences[0]) < TINY)
    return float(ttest_rel(first, second).pvalue)


def bootstrap_p(differences: NDArray[np.float64]) -> float:
    """Return the two-sided bootstrap p value of "the two runs have equal scores"; it is always above 0.

    Args:
        differences: score of run a minus score of run b, in each bootstrap draw.
    """
    side = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (side + 1) / (len(differences) + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for the number of comparisons by Holm's method; return them in the same order."""
    return [float(value) for value in multipletests(p, method="holm")[1]]
