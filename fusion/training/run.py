"""Training of an experiment: all seeds and folds, epoch chosen on validation, test read afterwards, one run folder."""

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
from fusion.training.parallel import Job, processes_for, train_seeds
from fusion.training.seed import Tick, prepare
from fusion.training.write_run import versions, write_run

RECIPE = 2  # raised when the same inputs would give another run


@dataclass(frozen=True)
class Way:
    """How and where an experiment is trained; the fields are those of `train_experiment`."""

    data: Path
    work: Path
    device: str
    allow_random_weights: bool
    allow_leak: bool
    processes: int | None
    progress: Tick | None

    def source(self, experiment: Experiment) -> Source:
        """What an experiment is trained on."""
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
    progress: Tick | None = None,
) -> dict[str, Any]:
    """Train all seeds of an experiment, on its split or on each of its folds, and write `data/models/<name>`.

    A killed training goes on where it was; folds that are done are not trained or tested again.

    Args:
        data: folder with manifests/ and caches/, to which models/ is written.
        work: where the state of unfinished trainings lies.
        allow_leak: accept features of checkpoints that have seen the test data; marks the run.
        processes: seeds trained at once; without it as many as pay. Results do not depend on it.
        progress: told the training and its epoch, whenever one ends.

    Returns:
        The answer of `ercache train`.

    Raises:
        UsageError: the experiment, its labels or its caches cannot be used; with all findings.
    """
    experiment = experiment_of(name, params)
    way = Way(data, work or default_work(), device, allow_random_weights, allow_leak, processes, progress)
    target = data / "models" / name
    if experiment.entry.folds is not None:
        run = _train_folds(experiment, params, way, target)
    else:
        source = way.source(experiment)
        run = _train_split(experiment, source, way, target, run_digest(experiment, source, device))
    return _answer(run, target)


def _train_split(experiment: Experiment, source: Source, way: Way, target: Path, digest: str) -> RunRecord:
    material = prepare(source, experiment.training, way.device)
    state = way.work / digest
    job = Job(experiment, material, len(source.classes), range(experiment.training.seeds), state)
    trained = train_seeds(job, way.processes or processes_for(job), way.progress)
    with atomic_folder(target) as folder:
        run = write_run(folder, experiment, source, material, trained, digest, way.device)
    if state.exists():
        shutil.rmtree(state)
    return run


def _train_folds(experiment: Experiment, params: Params, way: Way, target: Path) -> RunRecord:
    """Every fold on its own, then what they say together; folds that are done wait beside the unfinished state."""
    folds = fold_experiments(experiment, params, way.data)
    digests = _checked(folds, way)
    place = way.work / digest_of(digests)
    for fold, one in folds.items():
        if not (place / folder_of(fold) / RECORD).is_file():
            _train_split(one, way.source(one), way, place / folder_of(fold), digests[fold])
    with atomic_folder(target) as folder:
        shutil.copytree(place, folder / FOLDS)
        run = write_pooled(folder, experiment, tuple(folds), way.data)
    shutil.rmtree(place)
    return run


def _checked(folds: Mapping[str, Experiment], way: Way) -> dict[str, str]:
    """Fold -> digest of its run; all folds are looked at before the first is trained.

    Raises:
        UsageError: with the findings of all folds.
    """
    digests, wrong, hints = {}, [], []
    for fold, one in folds.items():
        try:
            digests[fold] = run_digest(one, way.source(one), way.device)
        except UsageError as error:
            wrong += [f"{fold}: {told}" for told in error.details or (error.message,)]
            hints.append(error.hint)
    if wrong:
        corpus = next(iter(folds.values())).entry.corpus
        message = f"{corpus}: {count_noun(len(wrong), 'finding')} in {len(hints)} of {count_noun(len(folds), 'fold')}"
        raise UsageError(message, details=wrong, hint="; ".join(dict.fromkeys(filter(None, hints))))
    return digests


def default_work() -> Path:
    """Where unfinished trainings lie: `runs` in ERCACHE_STORE, or in the user's cache folder where that is not ours.

    Raises:
        UsageError: neither can be written.
    """
    store = os.environ.get("ERCACHE_STORE")
    return writable((Path(store).expanduser() if store else user_folder()) / "runs", "runs")


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


def _answer(run: RunRecord, folder: Path) -> dict[str, Any]:
    names = ["experiment", "model", "task", "corpus", "seeds", "selected_on", "epochs", "parameters"]
    names += ["folds", "over_folds"] if run.folds else ["split"]
    fields = run.as_json()
    return {**{name: fields[name] for name in (*names, "validation", "test", "marks")}, "path": str(folder)}
