"""Trains an experiment with all seeds and folds, chooses epochs on validation, tests, and writes the run folder."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ercache.digests import digest_of
from ercache.errors import UsageError
from ercache.files import atomic_folder
from ercache.params.schema import Params
from ercache.paths import user_folder, writable
from ercache.wording import count_noun
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.experiment.source import Source, provenance_of, read_source
from fusion.runs.schema import RECORD, RunRecord
from fusion.training.folds import FOLDS, fold_experiments, folder_of, write_pooled
from fusion.training.parallel import SeedJob, processes_for, train_seeds
from fusion.training.seed import EpochCallback, prepare_datasets
from fusion.training.write_run import versions, write_run

RECIPE = 2  # version of the training code: raise it when the same inputs give other results


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run, such as device and folders; for each field, see the argument of `train_experiment`."""

    data: Path
    work: Path
    device: str
    allow_random_weights: bool
    allow_leak: bool
    processes: int | None
    progress: EpochCallback | None

    def source(self, experiment: Experiment) -> Source:
        """Read the features and labels of an experiment from the manifest and the caches."""
        return read_source(
            self.data,
            experiment.entry,
            allow_random_weights=self.allow_random_weights,
            allow_leak=self.allow_leak,
        )


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
    progress: EpochCallback | None = None,
) -> dict[str, Any]:
    """Train all seeds of an experiment, on one split or on all folds, and write the run folder `data/models/<name>`.

    After a killed run, training continues where it stopped. Finished folds are neither trained nor tested again.

    Args:
        name: name of an experiment in params.yaml.
        params: contents of params.yaml.
        data: folder with manifests/ and caches/; the run is written to models/ in this folder.
        work: folder for the state of unfinished training runs; None for `default_work()`.
        device: name of a torch device, such as `cpu` or `cuda:0`.
        allow_random_weights: accept features of networks with random weights; the run gets a note (mark).
        allow_leak: accept features of checkpoints that were trained on test data; the run gets a note (mark).
        processes: number of seeds to train at once; None to let `processes_for` choose it. Results do not depend on
            this number.
        progress: called after each epoch with the name of the experiment and seed, and a report of the epoch.

    Returns:
        What `ercache train --json` prints: the settings, the scores and the path of the run.

    Raises:
        UsageError: the experiment, its labels or its caches cannot be used; the message lists all problems.
    """
    experiment = experiment_of(name, params)
    options = TrainOptions(
        data, work or default_work(), device, allow_random_weights, allow_leak, processes, progress
    )
    target = data / "models" / name
    if experiment.entry.folds is not None:
        run = _train_folds(experiment, params, options, target)
    else:
        source = options.source(experiment)
        run = _train_split(experiment, source, options, target, run_digest(experiment, source, device))
    return _answer(run, target)


def _train_split(
    experiment: Experiment, source: Source, options: TrainOptions, target: Path, digest: str
) -> RunRecord:
    datasets = prepare_datasets(source, experiment.training, options.device)
    state = options.work / digest
    job = SeedJob(experiment, datasets, len(source.classes), range(experiment.training.seeds), state)
    trained = train_seeds(job, options.processes or processes_for(job), options.progress)
    with atomic_folder(target) as folder:
        run = write_run(folder, experiment, source, datasets, trained, digest, options.device)
    if state.exists():
        shutil.rmtree(state)
    return run


def _train_folds(experiment: Experiment, params: Params, options: TrainOptions, target: Path) -> RunRecord:
    """Train every fold, then pool the folds into one run. Finished folds stay in the work folder until all are done."""
    folds = fold_experiments(experiment, params, options.data)
    digests = _digests_of(folds, options)
    place = options.work / digest_of(digests)
    for fold, one in folds.items():
        if not (place / folder_of(fold) / RECORD).is_file():
            _train_split(one, options.source(one), options, place / folder_of(fold), digests[fold])
    with atomic_folder(target) as folder:
        shutil.copytree(place, folder / FOLDS)
        run = write_pooled(folder, experiment, tuple(folds), options.data)
    shutil.rmtree(place)
    return run


def digests_of(experiment: Experiment, params: Params, data: Path, device: str) -> str | dict[str, str]:
    """Compute the digest of the run that an experiment would give, to find an equal run without training.

    Returns:
        The `run_digest`; for an experiment with folds: fold -> `run_digest`.

    Raises:
        UsageError: the experiment cannot be trained; the message lists all problems.
    """
    options = TrainOptions(data, data, device, False, False, None, None)
    if experiment.entry.folds is not None:
        return _digests_of(fold_experiments(experiment, params, data), options)
    return run_digest(experiment, options.source(experiment), device)


def _digests_of(folds: Mapping[str, Experiment], options: TrainOptions) -> dict[str, str]:
    """Check the labels and caches of all folds before the first one is trained; return fold -> `run_digest`.

    Raises:
        UsageError: a fold cannot be trained; the message lists the problems of all folds.
    """
    digests, wrong, hints = {}, [], []
    for fold, one in folds.items():
        try:
            digests[fold] = run_digest(one, options.source(one), options.device)
        except UsageError as error:
            wrong += [f"{fold}: {problem}" for problem in error.details or (error.message,)]
            hints.append(error.hint)
    if wrong:
        corpus = next(iter(folds.values())).entry.corpus
        message = f"{corpus}: {count_noun(len(wrong), 'problem')} in {len(hints)} of {count_noun(len(folds), 'fold')}"
        raise UsageError(message, details=wrong, hint="; ".join(dict.fromkeys(filter(None, hints))))
    return digests


def default_work() -> Path:
    """Return the folder for the state of unfinished training runs.

    It is `runs` in the folder that the environment variable ERCACHE_STORE names, else in the user's cache folder.

    Raises:
        UsageError: the folder cannot be written.
    """
    store = os.environ.get("ERCACHE_STORE")
    return writable((Path(store).expanduser() if store else user_folder()) / "runs", "runs")


def run_digest(experiment: Experiment, source: Source, device: str) -> str:
    """Return a hash of everything that decides the result of a run: settings, data, versions and device.

    Runs with equal hashes were trained in the same way on the same data.
    """
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


def _answer(run: RunRecord, folder: Path) -> dict[str, Any]:
    names = ["experiment", "model", "task", "corpus", "seeds", "selected_on", "epochs", "parameters"]
    names += ["folds", "over_folds"] if run.folds else ["split"]
    fields = run.as_json()
    return {**{name: fields[name] for name in (*names, "validation", "test", "marks")}, "path": str(folder)}
