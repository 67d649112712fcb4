"""Bootstrap confidence intervals of metrics, and summaries over seeds. Dialogues and seeds are resampled together."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from ercache.metrics.base import METRICS, Floats, Ints
from ercache.metrics.confusion import mean_scores

DRAWS: Final = 2000
PROBABILITY_DRAWS: Final = 200  # a metric of probabilities takes one set of predictions at a time


def resampled_scores(counts: Ints, dialogues: Ints) -> dict[str, Floats]:
    """Compute all metrics of a confusion matrix for every bootstrap draw of dialogues, separately for each seed.

    Args:
        counts: confusion matrices of S seeds, D dialogues and C classes, [S, D, C, C]; in a multi-label task, one 2 x 2
            matrix for each of E labels, [S, D, E, 2, 2] (see `mean_scores`).
        dialogues: how often each dialogue was drawn, for R draws, [R, D].

    Returns:
        A dictionary from metric key to scores [R, S]: one per draw and seed.
    """
    seeds, size, *matrix = counts.shape
    # In float64 a matrix product runs in BLAS, and counts stay exact.
    drawn = dialogues.astype(np.float64) @ counts.reshape(seeds, size, -1).astype(np.float64)  # [S, R, C * C]
    return mean_scores(drawn.reshape(seeds, -1, *matrix).swapaxes(0, 1), leading=2)


def resampled_means(counts: Ints, seeds: Ints, dialogues: Ints) -> dict[str, Floats]:
    """Compute all metrics for every bootstrap draw of dialogues and seeds, averaged over the drawn seeds.

    Args:
        counts: confusion matrices of S seeds, D dialogues and C classes, [S, D, C, C]; in a multi-label task, one 2 x 2
            matrix for each of E labels, [S, D, E, 2, 2].
        seeds: how often each seed was drawn, for R draws, [R, S].
        dialogues: how often each dialogue was drawn, for R draws, [R, D].

    Returns:
        A dictionary from metric key to mean scores [R]: one per draw.
    """
    share = seeds / counts.shape[0]
    resampled = resampled_scores(counts, dialogues)
    return {name: (values * share).sum(-1) for name, values in resampled.items()}


def intervals(counts: Ints, *, draws: int = DRAWS, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % confidence interval of every metric, by a bootstrap that draws dialogues and seeds.

    Each metric is averaged over the drawn seeds. Utterances of a dialogue are not independent, so whole dialogues are
    drawn.

    Args:
        counts: confusion matrices of S seeds, D dialogues and C classes, [S, D, C, C]; in a multi-label task, one 2 x 2
            matrix for each of E labels, [S, D, E, 2, 2].

    Returns:
        A dictionary from metric key to two fractions: the low and the high end of the interval.
    """
    rng = np.random.default_rng(seed)
    seeds = rng_draws(rng, counts.shape[0], draws)
    resampled = resampled_means(counts, seeds, rng_draws(rng, counts.shape[1], draws))
    return {name: percentiles(values) for name, values in resampled.items()}


def rng_draws(rng: np.random.Generator, size: int, draws: int) -> Ints:
    """Make bootstrap draws: each draws `size` times from `size` items (dialogues or seeds), with replacement.

    Args:
        rng: random generator.
        size: number of items.
        draws: number of bootstrap draws.

    Returns:
        Counts [draws, size]: how often each item occurs in each bootstrap draw.
    """
    return rng.multinomial(size, np.full(size, 1 / size), size=draws)


def percentiles(values: Floats) -> tuple[float, float]:
    """Compute the two ends of a 95 % interval from bootstrap values [R]: their 2.5th and 97.5th percentiles."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def summary(counts: Ints) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and 95 % confidence interval of each metric that confusion matrices determine.

    The standard deviation over seeds is that of a sample (ddof = 1); 0 for a single seed. The interval comes from a
    bootstrap over dialogues and seeds.

    Args:
        counts: confusion matrices of S seeds, D dialogues and C classes, [S, D, C, C]; in a multi-label task, one 2 x 2
            matrix for each of E labels, [S, D, E, 2, 2].

    Returns:
        A dictionary from metric key to `mean`, `std` and `ci95`.
    """
    by_seed = mean_scores(counts.sum(1), leading=1)
    bounds = intervals(counts)
    return {
        name: {
            "mean": float(values.mean()),
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "ci95": list(bounds[name]),
        }
        for name, values in by_seed.items()
    }


def probability_summary(
    truth: Ints, probabilities: Sequence[Floats], dialogue: Ints, *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and 95 % confidence interval of each metric that needs predicted probabilities.

    The standard deviation is over seeds. The interval comes from a bootstrap over dialogues and seeds.

    Args:
        truth: true class indices of N utterances, [N].
        probabilities: predicted probabilities of the C classes, one array [N, C] per seed.
        dialogue: index of the dialogue of each utterance, [N], counted from 0 without gaps.

    Returns:
        A dictionary from metric key to `mean`, `std` and `ci95`.
    """
    classes = probabilities[0].shape[-1]
    needed = {
        key: metric.of_probabilities
        for key, metric in METRICS.items()
        if metric.of_probabilities is not None and metric.fits(classes)
    }
    if not needed:
        return {}
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(dialogue == rank) for rank in range(int(dialogue.max()) + 1)]
    draws = [
        (
            np.concatenate([members[d] for d in rng.integers(len(members), size=len(members))]),
            rng.integers(len(probabilities), size=len(probabilities)),
        )
        for _ in range(PROBABILITY_DRAWS)
    ]

    def resampled(score: Callable[[Ints, Floats], float]) -> Floats:
        return np.array(
            [np.mean([score(truth[rows], probabilities[s][rows]) for s in seeds]) for rows, seeds in draws]
        )

    found = {}
    for key, score in needed.items():
        by_seed = np.array([score(truth, chance) for chance in probabilities])
        found[key] = {
            "mean": float(by_seed.mean()),
            "std": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else 0.0,
            "ci95": list(percentiles(resampled(score))),
        }
    return found
