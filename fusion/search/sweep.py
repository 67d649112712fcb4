"""Hyperparameter search on the validation data. Every tried configuration is logged; test data are never read."""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from ercache.digests import canonical_json, digest_of
from ercache.errors import ErcacheError, UsageError, WorkError
from ercache.params.load import schema_errors, suggestion
from ercache.params.schema import ExperimentParams, Params, TrainingParams
from ercache.training.selection import score_of
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.experiment.source import Source, provenance_of, read_source
from fusion.models import MODELS
from fusion.search.log import Trial, append_trial, read_log
from fusion.training.seed import Datasets, prepare_datasets, train_seed

SUBSETS = ("train", "dev")
Space = Mapping[str, Sequence[Any]]


def sweep(
    name: str,
    params: Params,
    space: Space,
    trials: int,
    data: Path = Path("data"),
    *,
    seeds: int = 1,
    seed: int = 0,
    device: str = "cpu",
    allow_random_weights: bool = False,
    allow_leak: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Search for the switches and training params of an experiment that score best on the validation data.

    The score is the metric that `training.select` of the experiment names.

    A trial is one tried configuration. Trials that the log already holds are not repeated, so a killed search continues
    where it stopped. A trial that fails (NaN loss, switches that exclude each other) scores 0, and the log gives the
    reason.

    Args:
        name: name of an experiment in params.yaml.
        params: contents of params.yaml.
        space: dotted path of a switch (such as `config.dropout`, `training.lr`) -> values to choose from.
        trials: number of different configurations to try, those in the log included. The search ends earlier when no
            configuration is left.
        data: folder with manifests/ and caches/; the log is written to reports/ in this folder.
        seeds: number of seeds with which each configuration is trained.
        seed: seed of the sampler (optuna's TPE).
        device: name of a torch device, such as `cpu` or `cuda:0`.
        allow_random_weights: accept features of networks with random weights.
        allow_leak: accept features of checkpoints that were trained on test data.
        progress: called after each trial with a title, the number of finished trials and the number of all trials.

    Returns:
        `{"experiment", "trials", "best": {"number", "config", "validation_<metric>", "std"}, "metric", "log"}`. `best`
        is the trial with the highest score, `trials` the number of trials, and `log` the path of the CSV log.

    Raises:
        UsageError: `space` names an unknown switch or an impossible value; the message lists all.
        WorkError: every trial failed; the message lists the reasons.
    """
    base = experiment_of(name, params)
    check_space(base.entry, params, space)
    source = read_source(
        data, base.entry, SUBSETS, allow_random_weights=allow_random_weights, allow_leak=allow_leak
    )
    search = search_digest(base, source, space, seeds, seed)
    log = data / "reports" / "sweeps" / f"{name}.csv"
    done = read_log(log, search)
    study = study_of(space, done)
    for number in range(
        len(done), min(trials, math.prod(len(distinct(values)) for values in space.values()))
    ):
        trial = ask(study, space, seed)
        config = {path: json.loads(text) for path, text in trial.params.items()}
        done.append(run_trial(number, name, params, config, source, seeds, device))
        append_trial(log, search, done[-1])
        study.tell(trial, done[-1].mean)
        if progress is not None:
            progress(f"sweep of {name}", len(done), trials)
    best = _best_of(name, done, log)
    metric = base.training.select
    chosen = {"number": best.number, "config": best.config, score_of(metric): best.mean, "std": best.std}
    return {"experiment": name, "trials": len(done), "best": chosen, "metric": metric, "log": str(log)}


def _best_of(name: str, done: Sequence[Trial], log: Path) -> Trial:
    """Return the trial with the highest score; in a tie, the earliest one.

    Raises:
        WorkError: every trial failed; the message lists the reasons.
    """
    good = [trial for trial in done if not trial.reason]
    if done and not good:
        reasons = [f"{trial.number}: {trial.reason}" for trial in done]
        raise WorkError(
            f"sweep of {name}: every trial failed (log: {log}); correct the experiment or the search space",
            details=reasons[:20],
        )
    return max(good, key=lambda t: (t.mean, -t.number))


def check_space(entry: ExperimentParams, params: Params, space: Space) -> None:
    """Check that a search space names only known switches and possible values.

    Raises:
        UsageError: a switch is unknown or a value is impossible; the message lists all.
    """
    model = MODELS[entry.model]
    fields = {"config": model.config.model_fields, "training": TrainingParams.model_fields}
    paths = {f"{group}.{key}" for group, known in fields.items() for key in known} - {
        "training.seeds",
        "training.select",
    }  # scores of different metrics cannot be compared
    wrong = [] if space else ["the space is empty"]
    for path, choices in space.items():
        group, _, key = path.partition(".")
        if path not in paths:
            wrong.append(f"{path}: no switch of {model.key}; {suggestion(path, paths)}")
            continue
        wrong += [] if choices else [f"{path}: no values to choose from"]
        kind = model.config if group == "config" else TrainingParams
        wrong += [finding for value in choices for finding in schema_errors(kind, {key: value}, group)]
    if wrong:
        raise UsageError(
            "the search space has unknown switches or impossible values",
            details=wrong,
            hint="correct it in params.yaml, under `sweeps`",
        )


def apply_values(entry: ExperimentParams, config: Mapping[str, Any]) -> ExperimentParams:
    """Return a copy of an experiment with the values of a trial; `config` maps dotted paths of switches to values."""
    groups: dict[str, dict[str, Any]] = {"config": dict(entry.config), "training": dict(entry.training)}
    for path, value in config.items():
        group, _, key = path.partition(".")
        groups[group][key] = value
    return entry.model_copy(update=groups)


def distinct(values: Sequence[Any]) -> list[str]:
    """Return the values of one switch without duplicates, as JSON texts: optuna takes no lists as values."""
    return list(dict.fromkeys(canonical_json(value) for value in values))


def study_of(space: Space, done: Sequence[Trial]) -> optuna.Study:
    """Make an optuna study (the state of a search) that starts from the finished trials of the log.

    Args:
        space: dotted path of a switch -> values to choose from.
        done: the finished trials of the log.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in done:
        texts = {path: canonical_json(value) for path, value in trial.config.items()}
        study.add_trial(create_trial(params=texts, distributions=_choices(space), value=trial.mean))
    return study


def ask(study: optuna.Study, space: Space, seed: int) -> optuna.Trial:
    """Ask optuna for a configuration that was not tried yet.

    The choice depends only on the seed and the trials so far. A resumed search therefore makes the same choices as one
    without interruption.
    """
    known = [trial.params for trial in study.get_trials(states=[TrialState.COMPLETE])]
    for attempt in itertools.count():
        number = seed + len(known) + attempt
        # TPE may propose what was tried, which says nothing new: then any other configuration is better.
        study.sampler = RandomSampler(number) if attempt else TPESampler(seed=number)
        trial = study.ask(_choices(space))
        if trial.params not in known:
            return trial
        study.tell(trial, state=TrialState.FAIL)
    raise AssertionError("unreachable")


def _choices(space: Space) -> dict[str, BaseDistribution]:
    return {path: CategoricalDistribution(distinct(values)) for path, values in space.items()}


def search_digest(base: Experiment, source: Source, space: Space, seeds: int, seed: int) -> str:
    """Return the name of a search: a digest of everything that influences its scores.

    Rows of the log with another name belong to another search, for example one with older caches.
    """
    return digest_of(
        {
            "experiment": base.entry.model_dump(mode="json"),
            "training": base.training.model_dump(mode="json"),
            "provenance": provenance_of(source),
            "space": {path: list(values) for path, values in space.items()},
            "seeds": [seeds, seed],
        }
    )[:12]


def run_trial(
    number: int,
    name: str,
    params: Params,
    config: dict[str, Any],
    source: Source,
    seeds: int,
    device: str,
) -> Trial:
    """Train and score one configuration. A failure is recorded in the trial, and does not stop the search."""
    try:
        mean, std = _score(name, params, config, source, seeds, device)
        metric = experiment_of(name, params).training.select
    except (ErcacheError, ValueError) as error:
        parts = (error.message, *error.details) if isinstance(error, ErcacheError) else (str(error),)
        return Trial(number, config, 0.0, 0.0, " ".join("; ".join(parts).split()) or type(error).__name__)
    return Trial(number, config, mean, std, metric=metric)


def _score(
    name: str, params: Params, config: Mapping[str, Any], source: Source, seeds: int, device: str
) -> tuple[float, float]:
    """Train one configuration; return mean and standard deviation over seeds of its validation score.

    The score is the metric of `training.select` at the best epoch.
    """
    entry = apply_values(params.experiments[name], config)
    tried = experiment_of(
        name, params.model_copy(update={"experiments": {**params.experiments, name: entry}})
    )
    datasets: Datasets = prepare_datasets(source, tried.training, device)
    found = [
        train_seed(tried, datasets, len(source.classes), seed).progress.best_score for seed in range(seeds)
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
