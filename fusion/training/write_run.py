"""Writes the run folder of an experiment: weights, training curves, predictions and scores."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ercache.files import write_csv, write_json
from ercache.training.determinism import deterministic, threads_for
from ercache.training.selection import METRIC, score_of
from fusion.data.batches import PaddedBatches, Statistics, Subset, standardized_on_device
from fusion.data.windows import ContextWindow
from fusion.experiment.resolve import Experiment
from fusion.experiment.source import Source, provenance_of
from fusion.models.base import parameters
from fusion.models.hooks import hooks_of
from fusion.papers.deviations import deviations_of
from fusion.runs.predict import predict, score_subset
from fusion.runs.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from fusion.runs.schema import CURVES, Provenance, RunRecord, write_record
from fusion.runs.weights import cpu_state, write_statistics, write_weights
from fusion.training.seed import Datasets, TrainedSeed

PACKAGES = ("numpy", "scikit-learn", "torch")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that influence the results: library -> version."""
    return {package: version(package) for package in PACKAGES}


def write_run(
    folder: Path,
    experiment: Experiment,
    source: Source,
    datasets: Datasets,
    trained: list[TrainedSeed],
    digest: str,
    device: str,
) -> RunRecord:
    """Test the trained models of an experiment (one for each seed), and write the run folder.

    Test data are read only here.

    Args:
        folder: an empty folder for the run.
        experiment: the experiment.
        source: features and labels of the experiment.
        datasets: training and validation data.
        trained: the trained model of each seed.
        digest: hash of everything that decides the result, as `run_digest` computes it.
        device: name of the torch device on which to compute the test predictions.

    Returns:
        The record of the run, as written to `run.json`.
    """
    classes = source.classes
    test = standardized_on_device(source.subset("test"), datasets.statistics, device)
    subsets = {"train": datasets.train, "dev": datasets.dev, "test": test}
    found = {name: _predictions(trained, subsets[name], source.window) for name in ("dev", "test")}
    dev, after = score_subset(found["dev"], classes), score_subset(found["test"], classes)
    record = RunRecord(
        **_description(experiment, source),
        seeds=[t.seed for t in trained],
        selected_on="validation",
        epochs=[t.progress.best_epoch for t in trained],
        parameters=parameters(trained[0].model),
        widths=dict(datasets.train.widths),
        missing={name: subset.missing() for name, subset in subsets.items()},
        validation=dev.scores,
        test=after.scores,
        per_class=after.per_class,
        confusion=after.confusion,
        provenance=Provenance(
            **provenance_of(source),
            versions=versions(),
            device=device_class(device),
            threads=threads_for(trained[0].model),
            run_digest=digest,
        ),
        marks=[*source.findings.marks, *experiment.model.marks(experiment.config)],
    )
    record = with_deviations(record)
    _write_curves(folder, trained, record.select)
    _write_seeds(folder, trained, datasets.statistics, digest)
    write_results(folder, record, found)
    return record


def write_results(folder: Path, record: RunRecord, found: Mapping[str, Sequence[Predictions]]) -> None:
    """Write scores and predictions to the run folder.

    The files are the record `run.json`, the predictions, and `metrics.json` and `confusion.csv`, which DVC shows.

    Args:
        folder: the run folder.
        record: the record of the run.
        found: subset (`dev`, `test`) -> predictions of each seed.
    """
    flat = {f"test_{metric}": score.mean for metric, score in record.test.items()}
    marks = {"marks": "; ".join(record.marks)} if record.marks else {}  # DVC shows texts, but no lists
    chosen = {score_of(m): record.validation[m].mean for m in dict.fromkeys((METRIC, record.select))}
    write_json(folder / "metrics.json", {**flat, **chosen, **marks})
    pairs = [pair for p in found["test"] for pair in _pairs(p, record.classes)]
    write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    write_predictions(folder / PREDICTIONS_FILE, [*found["dev"], *found["test"]], record.classes)
    write_record(folder, record)


def _description(experiment: Experiment, source: Source) -> dict[str, Any]:
    entry = experiment.entry
    return {
        "experiment": experiment.name,
        "model": entry.model,
        "preset": entry.preset,
        "task": entry.task,
        "history": entry.history,
        "epc_target": entry.epc_target,
        "corpus": entry.corpus,
        "label_set": entry.label_set,
        "several": source.labels.multi,
        "classes": list(source.classes),
        "split": entry.split,
        "features": entry.features,
        "modalities": list(source.present),
        "config": experiment.config.model_dump(mode="json"),
        "training": experiment.training.model_dump(mode="json"),
    }


def with_deviations(record: RunRecord) -> RunRecord:
    """Return a copy of a run's record with the list of the run's deviations from the paper of its model."""
    return record.model_copy(update={"deviations": deviations_of(record)})


def device_class(device: str) -> str:
    """Return the type of a torch device, `cpu` or `cuda`, without a number."""
    return torch.device(device).type


def _predictions(trained: list[TrainedSeed], subset: Subset, window: ContextWindow) -> list[Predictions]:
    padded = PaddedBatches(subset, window)
    found = []
    for t in trained:
        with deterministic(threads_for(t.model)):
            found.append(predict(t.model, padded, t.seed))
    return found


def _write_curves(folder: Path, trained: list[TrainedSeed], select: str) -> None:
    chosen_by = dict.fromkeys((*CURVES, score_of(select)))
    names = (*chosen_by, *hooks_of(trained[0].model).epoch_statistics())
    curves = [
        [t.seed, int(row["epoch"]), *(row[name] for name in names)]
        for t in trained
        for row in t.progress.history
    ]
    write_csv(folder / "curves.csv", ("seed", "epoch", *names), curves)


def _pairs(p: Predictions, classes: Sequence[str]) -> list[tuple[str, str]]:
    """List the pairs (true class, predicted class) of all labelled utterances, for `confusion.csv`.

    In a multi-label task, an utterance gives one pair for each labelled emotion, such as (`happy`, `no happy`).
    """
    if not p.several:
        both = zip(p.truth, p.predicted, strict=True)
        return [(classes[true], classes[guess]) for true, guess in both if true >= 0]
    return [
        tuple(name if value else f"no {name}" for value in (true, guess))  # type: ignore[misc]
        for truth, predicted in zip(p.truth, p.predicted, strict=True)
        for name, true, guess in zip(classes, truth, predicted, strict=True)
        if true >= 0
    ]


def _write_seeds(
    folder: Path, trained: list[TrainedSeed], statistics: Statistics | None, digest: str
) -> None:
    for t in trained:
        place = folder / f"seed{t.seed}"
        write_weights(
            place, cpu_state(t.model), {"run": digest, "seed": t.seed, "epoch": t.progress.best_epoch}
        )
        if statistics is not None:
            write_statistics(place, statistics)
