"""Reads the stored test predictions of runs, and turns them into the counts and scores that significance tests need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ercache.errors import UsageError
from ercache.metrics import mean_scores
from ercache.training.losses import IGNORED
from ercache.training.selection import METRIC
from fusion.runs.predict import counts_of
from fusion.runs.predictions import PREDICTIONS_FILE, majority_vote, read_rows
from fusion.runs.schema import COMPARED_FIELDS, RunRecord, read_run
from fusion.training.folds import FOLDS, folder_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredRun:
    """The test results of a run on N labelled utterances, sorted by utterance id.

    Attributes:
        name: name of the run.
        counts: confusion matrices [S, D, C, C] of S seeds, D dialogues and C classes; [S, D, C, 2, 2] in a multi-label
            task.
        right: bool [N]; whether the majority of the seeds predicts the true label.
        select: key of the metric that chose the epochs of the run.
        marks: notes that must stand beside every result of the run.
        trainings: (fold, seed) -> test scores of the model that was trained with this seed in this fold: metric ->
            score. Without folds, the name of the fold is empty.
    """

    name: str
    counts: Ints
    right: NDArray[np.bool_]
    marks: tuple[str, ...] = ()
    select: str = METRIC
    trainings: Mapping[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)


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
        replace(
            scored_run_of(folder.name if single else str(folder), run, table),
            trainings=_scores_of_trainings(run, table, _fold_of_utterances(folder, run)),
        )
        for folder, run, table in zip(folders, runs, tables, strict=True)
    ]


def scored_run_of(name: str, run: RunRecord, table: pa.Table) -> ScoredRun:
    """Compute the test results of a run from its stored predictions.

    Args:
        name: name of the run.
        run: the contents of the run's `run.json`.
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
    return ScoredRun(name, np.stack(counts), right, tuple(run.marks), run.select)


def _fold_of_utterances(folder: Path, run: RunRecord) -> dict[str, str]:
    """Return in which fold each utterance is tested: utterance id -> name of fold; empty for a run without folds."""
    places = {fold: folder / FOLDS / folder_of(fold) for fold in run.folds or ()}
    return {
        utterance: fold
        for fold, place in places.items()
        for utterance in read_rows(place, "test", ["id"]).column("id").to_pylist()
    }


def _scores_of_trainings(
    run: RunRecord, table: pa.Table, fold: Mapping[str, str]
) -> dict[tuple[str, int], dict[str, float]]:
    """Compute the test scores of the model of each fold and seed: (fold, seed) -> metric -> score.

    A model is scored only on the test utterances of its own fold. Without folds, the name of the fold is empty.
    """
    truth, predicted = (_of_emotions if run.several else _of_classes)(run, table)
    folds = np.array([fold.get(i, "") for i in table.column("id").to_pylist()])
    seeds = np.array(table.column("seed").to_pylist())
    found = {}
    for key in dict.fromkeys(zip(folds.tolist(), seeds.tolist(), strict=True)):
        own = (folds == key[0]) & (seeds == key[1])
        together = np.zeros(int(own.sum()), dtype=np.int64)
        (counts,) = counts_of(truth[own], predicted[own], together, len(run.classes))
        found[key] = {name: float(value) for name, value in mean_scores(counts, leading=0).items()}
    return found


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
            f"{folder / PREDICTIONS_FILE}: the predictions do not fit the run's run.json",
            details=wrong,
            hint="train the experiment again",
        )
    return table


def _damages(table: pa.Table, run: RunRecord, chances: Sequence[str]) -> list[str]:
    """Check whether a table of predictions fits the run's `run.json`; return one sentence for each problem."""
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
