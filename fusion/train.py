"""Training of an experiment: all seeds, epoch chosen on validation, test read afterwards, one run folder written."""

import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
import torch

from ercache.digests import digest_of
from ercache.params import Params, array_of
from ercache.training import deterministic, threads_for
from fusion.batches import Padded, Statistics, Subset
from fusion.experiment import Experiment, Source, experiment_of, provenance_of, read_source
from fusion.models.base import paper_rows, parameters
from fusion.parallel import Job, processes_for, train_seeds
from fusion.runs import (
    CURVES,
    PREDICTIONS_FILE,
    Predictions,
    cpu_state,
    replaced_folder,
    write_csv,
    write_json,
    write_predictions,
    write_statistics,
    write_weights,
)
from fusion.scoring import predict, scored
from fusion.seeds import Material, Tick, Trained, prepare, readings_of, seen
from fusion.views import View

RECIPE = 2  # raised when the same inputs would give another run
PACKAGES = ("numpy", "scikit-learn", "torch")


def train_experiment(
    name: str,
    params: Params,
    data: Path = Path("data"),
    *,
    work: Path | None = None,
    device: str = "cpu",
    allow_random_weights: bool = False,
    allow_leak: bool = False,
    processes: int | None = None,
    progress: Tick | None = None,
) -> dict[str, Any]:
    """Train all seeds of an experiment and write `data/models/<name>`; a killed training goes on where it was.

    Args:
        data: folder with manifests/ and caches/, to which models/ is written.
        work: where the state of unfinished trainings lies.
        allow_leak: accept features of checkpoints that have seen the test data; marks the run.
        processes: seeds trained at once; without it as many as pay. Results do not depend on it.
        progress: told the seed, the epoch and the last epoch.

    Returns:
        The answer of `ercache train`.

    Raises:
        UsageError: the experiment, its labels or its caches cannot be used; with all findings.
    """
    experiment = experiment_of(name, params)
    source = read_source(
        data, experiment.entry, allow_random_weights=allow_random_weights, allow_leak=allow_leak
    )
    material = prepare(source, experiment.training, device)
    digest = run_digest(experiment, source, device)
    state = (work or default_work()) / digest
    job = Job(experiment, material, len(source.classes), range(experiment.training.seeds), state)
    trained = train_seeds(job, processes or processes_for(job), progress)
    target = data / "models" / name
    with replaced_folder(target) as folder:
        run = _write(folder, experiment, source, material, trained, digest, device)
    if state.exists():
        shutil.rmtree(state)
    return _answer(run, target)


def default_work() -> Path:
    """Where unfinished trainings lie: `runs` in ERCACHE_STORE, or in the user's cache folder."""
    store = os.environ.get("ERCACHE_STORE")
    return (Path(store) if store else platformdirs.user_cache_path("ercache")) / "runs"


def run_digest(experiment: Experiment, source: Source, device: str) -> str:
    """Names everything that decides the result of a run."""
    return digest_of(
        {
            "recipe": RECIPE,
            "experiment": experiment.entry.model_dump(mode="json"),
            "config": experiment.config.model_dump(mode="json"),
            "training": experiment.training.model_dump(mode="json"),
            "provenance": provenance_of(source),
            "versions": versions(),
            "device": device,
        }
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers."""
    return {package: version(package) for package in PACKAGES}


def _write(
    folder: Path,
    experiment: Experiment,
    source: Source,
    material: Material,
    trained: list[Trained],
    digest: str,
    device: str,
) -> dict[str, Any]:
    classes = source.classes
    test = seen(source.subset("test"), material.statistics, device)  # every epoch is chosen by now
    subsets = {"train": material.train, "dev": material.dev, "test": test}
    found = {name: _predictions(trained, subsets[name], source.view) for name in ("dev", "test")}
    dev, after = scored(found["dev"], classes), scored(found["test"], classes)
    size = parameters(trained[0].model)
    run = {
        **_description(experiment, source),
        "seeds": [t.seed for t in trained],
        "selected_on": "validation",
        "epochs": [t.progress.best_epoch for t in trained],
        "parameters": size,
        "widths": material.train.widths,
        "missing": {name: subset.missing() for name, subset in subsets.items()},
        "validation": dev["scores"],
        "test": after["scores"],
        "per_class": after["per_class"],
        "confusion": after["confusion"],
        "provenance": {
            **provenance_of(source),
            "versions": versions(),
            "device": device_class(device),
            "threads": threads_for(trained[0].model),
            "run_digest": digest,
        },
        "marks": source.findings.marks,
    }
    write_json(folder / "run.json", run)
    flat = {f"test_{m}": score["mean"] for m, score in after["scores"].items()}
    marks = {"marks": "; ".join(run["marks"])} if run["marks"] else {}  # DVC shows texts, but no lists
    validation = {"validation_weighted_f1": dev["scores"]["weighted_f1"]["mean"]}
    write_json(folder / "metrics.json", {**flat, **validation, **marks})
    _write_tables(folder, trained, found, classes)
    _write_seeds(folder, trained, material.statistics, digest)
    return run


def _description(experiment: Experiment, source: Source) -> dict[str, Any]:
    entry = experiment.entry
    return {
        "experiment": experiment.name,
        "model": entry.model,
        "preset": entry.preset,
        "paper_profile": paper_profile(experiment, source.findings.recipes),
        "task": entry.task,
        "history": entry.history,
        "corpus": entry.corpus,
        "label_set": entry.label_set,
        "classes": list(source.classes),
        "split": entry.split,
        "features": entry.features,
        "modalities": list(source.modalities),
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
    ours, preset = experiment.config.model_dump(), model.resolve(entry.preset, {}).model_dump()
    sizes = all(ours[name] == value for name, value in preset.items() if name not in rows)
    trained = all(getattr(experiment.training, name) == value for name, value in training.items())
    encoders = [
        recipes[array_of(name)[0]]["encoder"] == model.paper_encoders.get(m)
        for m, names in entry.features.items()
        for name in names
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


def _write_tables(
    folder: Path, trained: list[Trained], found: dict[str, list[Predictions]], classes: tuple[str, ...]
) -> None:
    names = (*CURVES, *readings_of(trained[0].model))
    curves = [
        [t.seed, int(row["epoch"]), *(row[name] for name in names)]
        for t in trained
        for row in t.progress.history
    ]
    write_csv(folder / "curves.csv", ("seed", "epoch", *names), curves)
    pairs = [
        (classes[true], classes[guess])
        for p in found["test"]
        for true, guess in zip(p.truth, p.predicted, strict=True)
        if true >= 0
    ]
    write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    write_predictions(folder / PREDICTIONS_FILE, [*found["dev"], *found["test"]], classes)


def _write_seeds(folder: Path, trained: list[Trained], statistics: Statistics | None, digest: str) -> None:
    for t in trained:
        place = folder / f"seed{t.seed}"
        write_weights(
            place, cpu_state(t.model), {"run": digest, "seed": t.seed, "epoch": t.progress.best_epoch}
        )
        if statistics is not None:
            write_statistics(place, statistics)


def _answer(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    names = ("experiment", "model", "task", "corpus", "split", "seeds", "selected_on", "epochs", "parameters")
    scores = {name: run[name] for name in ("validation", "test", "marks")}
    return {**{name: run[name] for name in names}, **scores, "path": str(folder)}
