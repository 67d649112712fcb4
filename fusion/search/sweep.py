"""Hyper-parameter search on validation alone; every tried configuration is logged, and test is never read."""

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
from optuna.trial import create_trial

from ercache.digests import canonical_json, digest_of
from ercache.errors import ErcacheError, UsageError, WorkError
from ercache.params.load import schema_errors, suggestion
from ercache.params.schema import ExperimentParams, Params, TrainingParams
from ercache.training import SCORE
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.experiment.source import Source, provenance_of, read_source
from fusion.models import MODELS
from fusion.search.log import Trial, append, read_log
from fusion.training.seed import Material, prepare, train_seed

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
    """Search the best switches of an experiment on validation.

    Trials that the log holds already count and are not run again, so a killed search goes on where it was.
    A trial that fails (a loss that is no number, switches that do not go together) counts as 0, with its reason.

    Args:
        space: dotted path (`config.dropout`, `training.lr`) -> values to choose from.
        trials: number of different configurations, those in the log included; the search ends when all were tried.
        seeds: trainings of each configuration.
        seed: of the sampler (optuna's TPE).

    Returns:
        `{"experiment", "trials", "best": {"number", "config", "validation_weighted_f1", "std"}, "log"}`.

    Raises:
        UsageError: the space names no switch or a value that it cannot have; with all findings.
        WorkError: every trial failed; with their reasons.
    """
    base = experiment_of(name, params)
    check_space(base.entry, params, space)
    source = read_source(
        data, base.entry, SUBSETS, allow_random_weights=allow_random_weights, allow_leak=allow_leak
    )
    search = search_digest(base, source, space, seeds, seed)
    log = data / "reports" / "sweeps" / f"{name}.csv"
    done = read_log(log, search)
    for number in range(
        len(done), min(trials, math.prod(len(distinct(values)) for values in space.values()))
    ):
        config = suggest(space, done, seed)
        done.append(tried(number, name, params, config, source, seeds, device))
        append(log, search, done[-1])
        if progress is not None:
            progress(f"sweep of {name}", len(done), trials)
    good = [trial for trial in done if not trial.reason]
    if done and not good:
        reasons = [f"{trial.number}: {trial.reason}" for trial in done]
        raise WorkError(f"sweep of {name}: every trial failed (log: {log})", details=reasons[:20])
    best = max(good, key=lambda t: (t.mean, -t.number))
    return {
        "experiment": name,
        "trials": len(done),
        "best": {
            "number": best.number,
            "config": best.config,
            SCORE: best.mean,
            "std": best.std,
        },
        "log": str(log),
    }


def check_space(entry: ExperimentParams, params: Params, space: Space) -> None:
    """Refuse paths that are no switch, and values that a switch cannot have.

    Raises:
        UsageError: with all findings.
    """
    model = MODELS[entry.model]
    fields = {"config": model.config.model_fields, "training": TrainingParams.model_fields}
    paths = {f"{group}.{key}" for group, known in fields.items() for key in known} - {"training.seeds"}
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
            "the search space is not usable",
            details=wrong,
            hint="values stand in params.yaml under sweeps.spaces",
        )


def changed(entry: ExperimentParams, config: Mapping[str, Any]) -> ExperimentParams:
    """An experiment with the values of a trial."""
    groups: dict[str, dict[str, Any]] = {"config": dict(entry.config), "training": dict(entry.training)}
    for path, value in config.items():
        group, _, key = path.partition(".")
        groups[group][key] = value
    return entry.model_copy(update=groups)


def distinct(values: Sequence[Any]) -> list[str]:
    """The choices of one switch as JSON texts, each once; optuna takes no lists."""
    return list(dict.fromkeys(canonical_json(value) for value in values))


def suggest(space: Space, done: Sequence[Trial], seed: int) -> dict[str, Any]:
    """An untried configuration; a pure function of the trials so far, so that a resumed search goes the same way."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices: dict[str, BaseDistribution] = {
        path: CategoricalDistribution(distinct(values)) for path, values in space.items()
    }
    held = [{path: canonical_json(value) for path, value in trial.config.items()} for trial in done]
    picked: dict[str, str] | None = None
    for attempt in itertools.count():
        number = seed + len(done) + attempt
        # What has been tried says nothing new: then any other configuration is better.
        sampler = RandomSampler(number) if attempt else TPESampler(seed=number)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial, texts in zip(done, held, strict=True):
            study.add_trial(create_trial(params=texts, distributions=choices, value=trial.mean))
        picked = study.ask(choices).params
        if picked not in held:
            break
    assert picked is not None
    return {path: json.loads(text) for path, text in picked.items()}


def search_digest(base: Experiment, source: Source, space: Space, seeds: int, seed: int) -> str:
    """Names the search: rows of the log with another one are of another search."""
    return digest_of(
        {
            "experiment": base.entry.model_dump(mode="json"),
            "training": base.training.model_dump(mode="json"),
            "provenance": provenance_of(source),
            "space": {path: list(values) for path, values in space.items()},
            "seeds": [seeds, seed],
        }
    )[:12]


def tried(
    number: int,
    name: str,
    params: Params,
    config: dict[str, Any],
    source: Source,
    seeds: int,
    device: str,
) -> Trial:
    """A trial; one that fails ends itself, not the search."""
    try:
        mean, std = _score(name, params, config, source, seeds, device)
    except (ErcacheError, ValueError) as error:
        parts = (error.message, *error.details) if isinstance(error, ErcacheError) else (str(error),)
        return Trial(number, config, 0.0, 0.0, " ".join("; ".join(parts).split()) or type(error).__name__)
    return Trial(number, config, mean, std)


def _score(
    name: str, params: Params, config: Mapping[str, Any], source: Source, seeds: int, device: str
) -> tuple[float, float]:
    """Mean and deviation over seeds of the best epoch's weighted F1 on validation."""
    entry = changed(params.experiments[name], config)
    tried = experiment_of(
        name, params.model_copy(update={"experiments": {**params.experiments, name: entry}})
    )
    material: Material = prepare(source, tried.training, device)
    found = [
        train_seed(tried, material, len(source.classes), seed).progress.best_score for seed in range(seeds)
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
