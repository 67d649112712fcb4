"""Says in which points a run deviates from its paper: features, task, labels, split, switches and training.

An empty list means that the run follows the paper in all points, as docs/papers/ reads the paper.
"""

from collections.abc import Callable, Iterator
from typing import Final

from ercache.params.schema import TrainingParams
from fusion.models import MODELS
from fusion.models.base import ModelEntry
from fusion.papers import Paper, TableRow, papers, read_paper
from fusion.papers.feature_deviations import deviations_of_modality, shown, told
from fusion.papers.original import PaperRun
from fusion.runs.schema import RunRecord

# Training params that only count together with others: param -> whether it counts.
Counts = Callable[[TrainingParams], bool]
_COUNTS: Final[dict[str, Counts]] = {
    "plateau_patience": lambda t: t.schedule == "plateau",
    "plateau_factor": lambda t: t.schedule == "plateau",
    "milestones": lambda t: t.schedule == "steps",
    "warmup": lambda t: t.schedule == "cosine",
    "momentum": lambda t: t.optimizer == "sgd",
    "dampening": lambda t: t.optimizer == "sgd",
    "l2": lambda t: t.weight_decay > 0,
}


def deviations_of(record: RunRecord, row: TableRow | None = None) -> list[str] | None:
    """List the points in which a run deviates from the paper of its model, one short sentence each.

    Args:
        record: the contents of the run's `run.json`.
        row: the row of a published table with which to compare the run: the modalities, arrays and switches of this row
            then count as the paper's. None to compare with the paper's full system.

    Returns:
        The sentences, each with the run's value and the paper's; None if no paper is known for the model.
    """
    if record.model not in papers():
        return None
    paper = read_paper(record.model)
    run = paper.run_for(record.corpus, record.task)
    model = MODELS[record.model]
    return [
        *_of_setting(record, paper, run),
        *_of_features(record, model, paper, run, row),
        *_of_config(record, model, run, row),
        *_of_training(record, model, run),
    ]


def recorded_deviations(record: RunRecord) -> list[str] | None:
    """Return the deviations from the paper as `run.json` holds them; for older runs without them, find them now."""
    if "deviations" in record.model_fields_set:
        return record.deviations
    return deviations_of(record)


def in_short(deviations: list[str], most: int = 2) -> str:
    """Join the first `most` deviations into one text, and add how many more there are."""
    more = f"; and {len(deviations) - most} more" if len(deviations) > most else ""
    return "; ".join(deviations[:most]) + more


def _of_setting(record: RunRecord, paper: Paper, run: PaperRun) -> Iterator[str]:
    if record.corpus != run.corpus:
        known = " and ".join(dict.fromkeys(one.corpus for one in paper.runs))
        yield f"corpus {record.corpus}, the paper uses {known}"
    if record.task != run.task:
        yield told("task", record.task, run.task)
    if record.epc_target != run.epc_target:
        yield told("epc_target", record.epc_target, run.epc_target)
    if record.corpus == run.corpus:
        yield from _of_labels(record, run)
    if record.history not in run.history:
        yield told("history", record.history, run.history[0])
    if record.provenance.unlabelled != run.unlabelled:
        yield told("unlabelled", record.provenance.unlabelled, run.unlabelled)


def _of_labels(record: RunRecord, run: PaperRun) -> Iterator[str]:
    if record.label_set != run.label_set:
        yield told("label set", record.label_set, run.label_set)
    ours = f"folds {record.split}" if record.folds else f"split {record.split}"
    theirs = f"folds {run.folds}" if run.folds else f"split {run.split}"
    if ours != theirs:
        yield f"{ours}, the paper uses {theirs}"


def _of_features(
    record: RunRecord, model: ModelEntry, paper: Paper, run: PaperRun, row: TableRow | None
) -> Iterator[str]:
    wanted = [m for m in run.features if row is None or row.modalities is None or m in row.modalities]
    for modality in dict.fromkeys([*wanted, *record.features]):
        theirs = run.features.get(modality)  # type: ignore[call-overload]
        if modality not in wanted or theirs is None:
            yield f"{modality} features, which the paper does not use here"
        elif modality not in record.features:
            yield f"no {modality} features, the paper uses {modality}"
        else:
            array = row.arrays.get(modality) if row else None
            yield from deviations_of_modality(record, model, modality, theirs, paper.features, array)


def _of_config(record: RunRecord, model: ModelEntry, run: PaperRun, row: TableRow | None) -> Iterator[str]:
    theirs = model.resolve(run.preset, row.config if row else {})
    ours = model.resolve(record.preset, record.config)
    for name in model.config.model_fields:
        if getattr(ours, name) != getattr(theirs, name):
            yield told(f"config {name}", getattr(ours, name), getattr(theirs, name))


def _of_training(record: RunRecord, model: ModelEntry, run: PaperRun) -> Iterator[str]:
    theirs, ours = model.recipe(run.recipe), TrainingParams(**record.training)
    for name in TrainingParams.model_fields:
        counts: Counts = _COUNTS.get(name, _always)
        if name in ("seeds", "batch") or not (counts(ours) or counts(theirs)):
            continue
        if getattr(ours, name) != getattr(theirs, name):
            yield told(f"training {name}", getattr(ours, name), getattr(theirs, name))
    unit, units = _unit(record.task, record.history), [_unit(run.task, h) for h in run.history]
    if ours.batch != theirs.batch or unit not in units:
        yield f"training batch {shown(ours.batch)} {unit}, the paper uses {shown(theirs.batch)} {units[0]}"


def _always(training: TrainingParams) -> bool:
    return True


def _unit(task: str, history: int | None) -> str:
    """Return what the batch size counts: `dialogues` (whole ones), or `utterances` (each with its context)."""
    return "dialogues" if task == "erc" and history is None else "utterances"
