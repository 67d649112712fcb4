"""Section of the report: scores of comparable runs, with a dot plot, a baseline, and pairwise differences."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.report.gather import ReportData
from app.report.marks import Mark, marks_of
from app.report.runs import Run, majority_floor
from ercache.errors import ErcacheError
from ercache.manifest import Manifest
from ercache.metrics import in_order
from ercache.training.selection import METRIC
from fusion.papers.deviations import recorded_deviations
from fusion.runs.schema import RunRecord, Score

TASKS = {"erc": "recognition", "epc": "prediction of the next utterance"}


@dataclass(frozen=True)
class Dot:
    """A dot in the plot of scores, with its confidence interval.

    Attributes:
        value: position of the score on the axis, from 0 (left end) to 100 (right end).
        low, high: positions of the ends of the interval on this axis; None if the run stores no interval.
        text: score and interval in words.
    """

    value: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class ScoreRow:
    """Row of the table of scores: settings of a run, and its validation and test scores in percent, one per metric.

    Attributes:
        inputs: modalities and names of the features, in words.
        epochs: best epochs of the training runs, separated by commas.
        lacking: for each modality, how many test utterances have no feature, such as `audio 12`.
        chosen: whether the run has the best validation score of all comparable runs.
        marks: remarks on the scores, such as random weights.
        deviations: in which points the run deviates from the paper of its model; None if the model has no paper.
        folds: name and test scores of each fold of a cross-validation.
    """

    experiment: str
    model: str
    inputs: str
    seeds: int
    parameters: int
    epochs: str
    lacking: str
    chosen: bool
    marks: tuple[Mark, ...]
    deviations: tuple[str, ...] | None
    test: tuple[Score | None, ...]
    validation: tuple[Score | None, ...]
    folds: tuple[tuple[str, tuple[Score | None, ...]], ...]
    test_dot: Dot | None
    validation_dot: Dot | None


@dataclass(frozen=True)
class Pair:
    """Difference of the test scores of two runs `a` and `b`, with tests of significance.

    The p values are corrected for the number of pairs.

    Attributes:
        difference: score of `a` minus score of `b`, in percentage points.
        ci95: 95 % confidence interval of the difference; None if it was not computed.
        clear: whether the difference is significant: every p value that was computed is below 0.05.
    """

    a: str
    b: str
    difference: float
    ci95: tuple[float, float] | None
    p_bootstrap: float | None
    p_mcnemar: float | None
    clear: bool


@dataclass(frozen=True)
class GroupView:
    """What the report shows about runs with the same corpus, label set, split and task, sorted by test score.

    Attributes:
        metrics: names of the metrics, in the order of the scores.
        rows: one row per run.
        ticks: position (0 to 100) and text of each tick of the plot's axis.
        floor: scores of the majority baseline, in percent, in the order of `metrics`.
        floor_at: position of the baseline's weighted F1 on the plot's axis, 0 to 100; None if there is none.
        pairs: difference of each pair of runs.
        pairs_note: why the report compares no pairs of runs; "" if it does.
    """

    corpus: str
    label_set: str
    split: str
    task: str
    metrics: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    ticks: tuple[tuple[float, str], ...]
    floor: tuple[float | None, ...]
    floor_at: float | None
    pairs: tuple[Pair, ...]
    pairs_note: str


Compare = Callable[[list[Path]], Sequence[Mapping[str, Any]]]


def group_view(runs: Sequence[Run], gathered: ReportData, compare: Compare) -> GroupView:
    """Collect the scores, the dot plot, the baseline and the pairwise differences of comparable runs.

    Args:
        runs: runs with the same corpus, label set, split and task. The first one has the best validation score.
        gathered: all data of the report.
        compare: function that takes run folders and returns the differences between all pairs of runs.
    """
    corpus, label_set, split, task = runs[0].record.comparable
    floor = floor_of(runs[0], gathered.manifest(corpus))
    low, high, step = axis_of(runs, floor.get(METRIC))
    ranked = sorted(runs, key=lambda r: (-_mean(r.record.test.get(METRIC)), r.record.experiment))
    pairs, note = pairs_of(ranked, compare)
    return GroupView(
        corpus=corpus,
        label_set=label_set,
        split=split,
        task=TASKS.get(task, task),
        metrics=tuple(metric.name for metric in in_order(_class_count(runs[0].record))),
        rows=tuple(_row(run, marks_of(run, gathered), run is runs[0], low, high) for run in ranked),
        ticks=tuple((100 * (v - low) / (high - low), f"{v}") for v in range(low, high + 1, step)),
        floor=tuple(100 * floor[m] if m in floor else None for m in _keys(runs[0].record)),
        floor_at=_place(floor[METRIC], low, high) if floor else None,
        pairs=pairs,
        pairs_note=note,
    )


def floor_of(run: Run, manifest: Manifest | None) -> dict[str, float]:
    """Test scores of the majority baseline, which always predicts the most frequent label of the train subset.

    Returns:
        A dictionary from metric to score, as a fraction. It is empty if the manifest or the split is absent.
    """
    split = manifest.splits.get(run.record.split) if manifest else None
    if manifest is None or split is None:
        return {}
    label = {u.id: u.labels.get(run.record.label_set) for u in manifest.utterances}
    count = {part: Counter(v for i in ids if (v := label.get(i)) is not None) for part, ids in split.items()}
    return majority_floor(count.get("train", {}), count.get("test", {}), run.record.classes)


def axis_of(runs: Sequence[Run], floor: float | None) -> tuple[int, int, int]:
    """Choose the axis of the dot plot so that all scores, their intervals and the baseline fit.

    Returns:
        Three numbers, in percent: low end of the axis, high end, and step between two ticks.
    """
    shown = [floor] if floor is not None else []
    for run in runs:
        for score in (run.record.test.get(METRIC), run.record.validation.get(METRIC)):
            if score:
                shown += [score.mean, *(score.ci95 or ())]
    low, high = (100 * min(shown, default=0.0), 100 * max(shown, default=1.0))
    step = 5 if high - low <= 35 else 10
    start = max(0, step * math.floor(low / step))
    return start, max(start + step, min(100, step * math.ceil(high / step))), step


def pairs_of(ranked: Sequence[Run], compare: Compare) -> tuple[tuple[Pair, ...], str]:
    """Compute the difference of the test scores of every pair of runs.

    Args:
        ranked: runs that can be compared.
        compare: function that takes run folders and tests the difference of every pair of runs.

    Returns:
        Two values: one `Pair` per pair of runs, and "". If the runs could not be compared: an empty tuple, and a text
            that says why.
    """
    if len(ranked) < 2:
        return (), "there is only one run"
    try:
        rows = compare([run.folder for run in ranked])
    except ErcacheError as error:
        folder = f"{ranked[0].folder.parent}/"  # the page must not depend on the place of the data folder
        return (), "; ".join(text.replace(folder, "") for text in (error.message, *error.details))
    except (KeyError, ValueError, IndexError) as error:
        return (), f"the predictions of a run are damaged ({error}): train it again"
    return tuple(_pair(row) for row in rows), ""


def compare_runs(folders: list[Path]) -> Sequence[Mapping[str, Any]]:
    """Compare every pair of runs with the tests of `ercache compare`: paired bootstrap and McNemar's test."""
    # Imported here because statsmodels is slow to load, and a page without runs does not need it.
    from fusion.evaluation.significance import compare

    return compare(folders, METRIC)


def _row(run: Run, marks: tuple[Mark, ...], chosen: bool, low: int, high: int) -> ScoreRow:
    file = run.record
    deviations = recorded_deviations(file)
    return ScoreRow(
        experiment=file.experiment,
        model=f"{file.model} {file.preset}".strip(),
        inputs="; ".join(f"{modality}: {' + '.join(names)}" for modality, names in file.features.items()),
        seeds=len(file.seeds),
        parameters=file.parameters,
        epochs=", ".join(map(str, file.epochs)),
        lacking=", ".join(f"{m} {n:,}" for m, n in file.missing.get("test", {}).items() if n),
        chosen=chosen,
        marks=marks,
        deviations=None if deviations is None else tuple(deviations),
        test=tuple(_percent(file.test.get(m)) for m in _keys(file)),
        validation=tuple(_percent(file.validation.get(m)) for m in _keys(file)),
        folds=tuple(
            (name, tuple(_percent(fold.test.get(m)) for m in _keys(file)))
            for name, fold in (file.folds or {}).items()
        ),
        test_dot=_dot(file.test.get(METRIC), low, high),
        validation_dot=_dot(file.validation.get(METRIC), low, high),
    )


def _keys(record: RunRecord) -> list[str]:
    return [metric.key for metric in in_order(_class_count(record))]


def _class_count(record: RunRecord) -> int:
    """Return the number of classes for which metrics are shown; 0 in a multi-label task, which has no class metrics."""
    return 0 if record.several else len(record.classes)


def _percent(score: Score | None) -> Score | None:
    return None if score is None else score.in_percent


def _dot(score: Score | None, low: int, high: int) -> Dot | None:
    if score is None:
        return None
    text = f"{100 * score.mean:.1f} %"
    if score.ci95 is None:
        return Dot(_place(score.mean, low, high), None, None, text)
    ends = [_place(end, low, high) for end in score.ci95]
    text += f", 95 % interval {100 * score.ci95[0]:.1f} to {100 * score.ci95[1]:.1f}"
    return Dot(_place(score.mean, low, high), ends[0], ends[1], text)


def _place(fraction: float, low: int, high: int) -> float:
    return 100 * (100 * fraction - low) / (high - low)


def _mean(score: Score | None) -> float:
    return score.mean if score else -math.inf


def _pair(row: Mapping[str, Any]) -> Pair:
    ci95, known = row.get("ci95"), [p for p in (row.get("p"), row.get("p_mcnemar")) if p is not None]
    return Pair(
        a=Path(str(row["a"])).name,
        b=Path(str(row["b"])).name,
        difference=100 * float(row["difference"]),
        ci95=(100 * float(ci95[0]), 100 * float(ci95[1])) if ci95 else None,
        p_bootstrap=row.get("p"),
        p_mcnemar=row.get("p_mcnemar"),
        clear=bool(known) and max(known) < 0.05,
    )
