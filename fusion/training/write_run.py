"""What a training leaves behind: weights, curves, predictions and scores of one split, in one folder."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ercache.files import write_csv, write_json
from ercache.params.schema import split_array_name
from ercache.training import METRIC, SCORE
from ercache.training.determinism import deterministic, threads_for
from fusion.data.batches import Padded, Statistics, Subset, seen
from fusion.data.windows import View
from fusion.experiment.resolve import Experiment
from fusion.experiment.source import Source, provenance_of
from fusion.models.base import paper_rows, parameters
from fusion.models.hooks import hooks_of
from fusion.runs.predict import predict, scored
from fusion.runs.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from fusion.runs.schema import CURVES, Provenance, RunRecord, write_record
from fusion.runs.weights import cpu_state, write_statistics, write_weights
from fusion.training.seed import Material, Trained

PACKAGES = ("numpy", "scikit-learn", "torch")


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers."""
    return {package: version(package) for package in PACKAGES}


def write_run(
    folder: Path,
    experiment: Experiment,
    source: Source,
    material: Material,
    trained: list[Trained],
    digest: str,
    device: str,
) -> RunRecord:
    """Fill a run folder; test is read here, when the epoch of every seed is chosen."""
    classes = source.classes
    test = seen(source.subset("test"), material.statistics, device)
    subsets = {"train": material.train, "dev": material.dev, "test": test}
    found = {name: _predictions(trained, subsets[name], source.view) for name in ("dev", "test")}
    dev, after = scored(found["dev"], classes), scored(found["test"], classes)
    record = RunRecord(
        **_description(experiment, source),
        seeds=[t.seed for t in trained],
        selected_on="validation",
        epochs=[t.progress.best_epoch for t in trained],
        parameters=parameters(trained[0].model),
        widths=dict(material.train.widths),
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
    _write_curves(folder, trained)
    _write_seeds(folder, trained, material.statistics, digest)
    write_results(folder, record, found)
    return record


def write_results(folder: Path, record: RunRecord, found: Mapping[str, Sequence[Predictions]]) -> None:
    """Scores and predictions of a run, or of all folds of one: `run.json`, what DVC shows, and the predictions.

    Args:
        found: `dev` and `test` -> predictions of every seed.
    """
    flat = {f"test_{metric}": score.mean for metric, score in record.test.items()}
    marks = {"marks": "; ".join(record.marks)} if record.marks else {}  # DVC shows texts, but no lists
    chosen = {SCORE: record.validation[METRIC].mean}
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
        "paper_profile": paper_profile(experiment, source.findings.recipes),
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


def paper_profile(experiment: Experiment, recipes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a run is the paper's: sizes (or a row of its tables), training, and every feature from its own encoder.

    Args:
        recipes: feature -> how it was made.
    """
    model, entry = experiment.model, experiment.entry
    training = model.paper_training.get(entry.preset)
    if training is None:
        return False
    rows = paper_rows(model.config)
    ours, preset = dict(experiment.config), dict(model.resolve(entry.preset, {}))
    sizes = all(ours[name] == value for name, value in preset.items() if name not in rows)
    trained = all(getattr(experiment.training, name) == value for name, value in training.items())
    encoders = [
        recipes[split_array_name(name)[0]]["encoder"] == model.paper_encoders.get(place)
        for m, names in entry.features.items()
        for place, name in zip(model.roles.get(m, [m] * len(names)), names, strict=False)
    ]
    return sizes and trained and all(encoders)


def device_class(device: str) -> str:
    """`cpu` or `cuda`, as in the provenance of features."""
    return torch.device(device).type


def _predictions(trained: list[Trained], subset: Subset, view: View) -> list[Predictions]:
    padded = Padded(subset, view)
    found = []
    for t in trained:
        with deterministic(threads_for(t.model)):
            found.append(predict(t.model, padded, t.seed))
    return found


def _write_curves(folder: Path, trained: list[Trained]) -> None:
    names = (*CURVES, *hooks_of(trained[0].model).epoch_statistics())
    curves = [
        [t.seed, int(row["epoch"]), *(row[name] for name in names)]
        for t in trained
        for row in t.progress.history
    ]
    write_csv(folder / "curves.csv", ("seed", "epoch", *names), curves)


def _pairs(p: Predictions, classes: Sequence[str]) -> list[tuple[str, str]]:
    """What is true and what was said of every label; of several emotions an utterance, emotion by emotion."""
    if not p.several:
        told = zip(p.truth, p.predicted, strict=True)
        return [(classes[true], classes[said]) for true, said in told if true >= 0]
    return [
        tuple(name if value else f"no {name}" for value in (true, said))  # type: ignore[misc]
        for truth, predicted in zip(p.truth, p.predicted, strict=True)
        for name, true, said in zip(classes, truth, predicted, strict=True)
        if true >= 0
    ]


def _write_seeds(folder: Path, trained: list[Trained], statistics: Statistics | None, digest: str) -> None:
    for t in trained:
        place = folder / f"seed{t.seed}"
        write_weights(
            place, cpu_state(t.model), {"run": digest, "seed": t.seed, "epoch": t.progress.best_epoch}
        )
        if statistics is not None:
            write_statistics(place, statistics)
