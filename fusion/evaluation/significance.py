"""Significance tests between runs on the same test subset: bootstrap over dialogues and seeds, and McNemar's test."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
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
from ercache.training.losses import IGNORED
from ercache.training.selection import METRIC
from fusion.runs.predict import counts_of
from fusion.runs.predictions import PREDICTIONS_FILE, majority_vote, read_rows
from fusion.runs.schema import COMPARED_FIELDS, RunRecord, read_run

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredRun:
    """The test results of a run on N labelled utterances, sorted by utterance id.

    Attributes:
        name: name of the run.
        counts: confusion matrices [S, D, C, C] of S seeds, D dialogues and C classes; [S, D, C, 2, 2] in a multi-label
            task.
        right: bool [N]; whether the majority of the seeds predicts the true label.
        marks: notes that must stand beside every result of the run.
    """

    name: str
    counts: Ints
    right: NDArray[np.bool_]
    marks: tuple[str, ...] = ()


def compare(run_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """Test for every pair of runs whether their scores on the test subset differ significantly.

    Args:
        run_dirs: at least two run folders.

    Returns:
        One row for each pair of runs:

        - `a`, `b`: names of the two runs.
        - `difference`: weighted F1 of a minus weighted F1 of b, means over seeds.
        - `ci95`: 95 % bootstrap interval of the difference. Both runs get the same draws of dialogues, but each run
          gets draws of seeds of its own.
        - `p`: two-sided p value of the bootstrap, Holm-corrected over all pairs.
        - `p_mcnemar`: p value of the exact McNemar test on majority votes of the seeds, Holm-corrected.
        - `only_a_right`, `only_b_right`: number of utterances that only a, or only b, predicts correctly.
        - `marks_a`, `marks_b`: notes that must stand beside the results.

    Raises:
        UsageError: there are fewer than two runs, they were not tested on the same utterances and labels, or their
            predictions are damaged.
    """
    folders = [Path(folder) for folder in run_dirs]
    if len(folders) < 2:
        raise UsageError("nothing to compare", hint="name at least two run folders")
    outcomes = read_scored_runs(folders)
    rows = [
        compare_pair(a, b) | {"marks_a": list(a.marks), "marks_b": list(b.marks)}
        for a, b in combinations(outcomes, 2)
    ]
    for key in ("p", "p_mcnemar"):
        corrected = holm([row[key] for row in rows])
        for row, value in zip(rows, corrected, strict=True):
            row[key] = value
    return rows


def compare_pair(a: ScoredRun, b: ScoredRun) -> dict[str, Any]:
    """Compare two runs by bootstrap and McNemar's test; return one row of `compare`'s result.

    The p values are not yet Holm-corrected, and the notes (marks) are missing.
    """
    observed = [mean_scores(o.counts.sum(1), leading=1)[METRIC].mean() for o in (a, b)]
    # Both runs get the same draws of dialogues, so the bootstrap is paired over dialogues.
    # Seeds of different runs are unrelated, so each run gets its own draws of seeds.
    rng = np.random.default_rng(0)
    drawn = rng_draws(rng, a.counts.shape[1], DRAWS)
    first, second = (
        resampled_means(o.counts, rng_draws(rng, o.counts.shape[0], DRAWS), drawn)[METRIC] for o in (a, b)
    )
    only_a, only_b = int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum())
    return {
        "a": a.name,
        "b": b.name,
        "difference": float(observed[0] - observed[1]),
        "ci95": list(percentiles(first - second)),
        "p": bootstrap_p(first - second),
        "p_mcnemar": mcnemar_p(only_a, only_b),
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


def bootstrap_p(differences: NDArray[np.float64]) -> float:
    """Return the two-sided bootstrap p value of "the two runs have equal scores"; it is always above 0.

    Args:
        differences: score of run a minus score of run b, in each bootstrap draw.
    """
    side = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (side + 1) / (len(differences) + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for the number of comparisons by Holm's method; the order stays."""
    return [float(value) for value in multipletests(p, method="holm")[1]]


def read_scored_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """Read the test results of runs, and check that all runs were tested on the same utterances and labels.

    Raises:
        UsageError: the runs cannot be compared; the message lists all differences.
    """
    runs = [read_run(folder) for folder in folders]
    tables = [_test_rows(folder, run) for folder, run in zip(folders, runs, strict=True)]
    wrong = []
    for folder, run, table in zip(folders[1:], runs[1:], tables[1:], strict=True):
        for key in COMPARED_FIELDS:
            ours, theirs = getattr(runs[0], key), getattr(run, key)
            if ours != theirs:
                wrong.append(f"{folder}: {key} is {theirs!r}, in {folders[0]} it is {ours!r}")
        if _truth(table) != _truth(tables[0]):
            wrong.append(f"{folder}: other test utterances or labels than {folders[0]}")
    if wrong:
        raise UsageError(
            "these runs cannot be compared: they were not tested on the same utterances and labels; name other runs",
            details=wrong,
        )
    single = len({folder.name for folder in folders}) == len(folders)
    return [
        scored_run_of(folder.name if single else str(folder), run, table)
        for folder, run, table in zip(folders, runs, tables, strict=True)
    ]


def scored_run_of(name: str, run: RunRecord, table: pa.Table) -> ScoredRun:
    """Compute the test results of a run from its stored predictions.

    Args:
        name: name of the run.
        run: the record of the run.
        table: predictions of the run for the labelled test utterances, sorted by seed and utterance id.
    """
    columns = {key: np.array(table.column(key).to_pylist()) for key in ("seed", "dialogue")}
    truth, predicted = (_of_emotions if run.several else _of_classes)(run, table)
    dialogue = np.unique(columns["dialogue"], return_inverse=True)[1]
    of_seed = [columns["seed"] == seed for seed in run.seeds]
    counts = [counts_of(truth[s], predicted[s], dialogue[s], len(run.classes)) for s in of_seed]
    votes = np.stack([predicted[s] for s in of_seed])  # [S, N], or [S, N, C]
    chances = np.stack([table.column(f"p_{value}").to_numpy() for value in run.classes], axis=1)
    chance, true = np.stack([chances[s] for s in of_seed]).mean(0), truth[of_seed[0]]  # [N, C]
    if run.several:
        # A multi-label utterance counts as right if all its known emotions are predicted correctly.
        share = votes.mean(0)
        held = np.where(share == 0.5, chance > 0.5, share > 0.5)
        right = ((held == true) | (true == IGNORED)).all(1)
    else:
        right = majority_vote(votes, chance) == true
    return ScoredRun(name, np.stack(counts), right, tuple(run.marks))


def _of_classes(run: RunRecord, table: pa.Table) -> tuple[Ints, Ints]:
    rank = {value: c for c, value in enumerate(run.classes)}
    truth, predicted = (
        np.array([rank[value] for value in table.column(key).to_pylist()], dtype=np.int64)
        for key in ("label", "predicted")
    )
    return truth, predicted


def _of_emotions(run: RunRecord, table: pa.Table) -> tuple[Ints, Ints]:
    held = [table.column(f"label_{name}").fill_null(IGNORED).to_numpy() for name in run.classes]
    chance = np.stack([table.column(f"p_{name}").to_numpy() for name in run.classes], axis=1)
    return np.stack(held, axis=1).astype(np.int64), (chance > 0.5).astype(np.int64)


def _test_rows(folder: Path, run: RunRecord) -> pa.Table:
    """Read a run's predictions for the labelled test utterances, sorted by seed and utterance id."""
    chances = [f"p_{value}" for value in run.classes]
    held = [f"label_{value}" for value in run.classes] if run.several else []
    names = ["seed", "id", "dialogue", "subset", "label", "predicted", *chances, *held]
    table = read_rows(folder, "test", names).select(names)
    table = table.filter(pc.is_valid(table.column("label")))
    table = table.sort_by([("seed", "ascending"), ("id", "ascending")])
    wrong = _damages(table, run, chances)
    if wrong:
        raise UsageError(
            f"{folder / PREDICTIONS_FILE}: the predictions do not fit the record of the run",
            details=wrong,
            hint="train the experiment again",
        )
    return table


def _damages(table: pa.Table, run: RunRecord, chances: Sequence[str]) -> list[str]:
    """Check a table of predictions against the record of its run; return one sentence for each problem."""
    wrong = [name for name in chances if not pa.types.is_floating(table.schema.field(name).type)]
    found = [f"column {name} holds no numbers" for name in wrong]
    # In a multi-label task some emotions of an utterance may be unknown.
    whole_columns = [name for name in table.column_names if not (run.several and name.startswith("label_"))]
    found += [f"column {name} has empty cells" for name in whole_columns if table.column(name).null_count]
    for key in () if run.several else ("label", "predicted"):
        strange = set(table.column(key).to_pylist()) - {*run.classes, None}
        found += [f"{key} {value!r} is no class of the run" for value in sorted(strange, key=str)]
    ids: dict[int, list[str]] = {seed: [] for seed in run.seeds}
    for seed, utterance in zip(table.column("seed").to_pylist(), table.column("id").to_pylist(), strict=True):
        ids.setdefault(seed, []).append(utterance)
    if set(ids) != set(run.seeds):
        found.append(
            f"the table has rows of the seeds {sorted(ids, key=str)}, but the run has the seeds {run.seeds}"
        )
    whole = max(ids.values(), key=len, default=[])
    found += [
        f"seed {seed} has {len(rows)} labelled test utterances, another seed has {len(set(whole))}"
        for seed, rows in ids.items()
        if rows != whole or len(set(rows)) != len(rows) or not rows
    ]
    return found


def _truth(table: pa.Table) -> set[tuple[str, str, str]]:
    return set(zip(*(table.column(key).to_pylist() for key in ("id", "dialogue", "label")), strict=True))
