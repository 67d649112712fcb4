"""Resolves an experiment of params.yaml: finds the model, and fills in its switches and the training params."""

from dataclasses import dataclass

from pydantic import BaseModel

from ercache.errors import ParamsError, UsageError
from ercache.metrics import METRICS
from ercache.params.load import FIX_AND_RERUN, PARAMS_FILE, suggestion
from ercache.params.schema import ExperimentParams, Params, TrainingParams
from ercache.wording import count_noun
from fusion.models import MODELS
from fusion.models.base import ModelEntry


@dataclass(frozen=True)
class Experiment:
    """An experiment of params.yaml with all defaults filled in.

    Attributes:
        name: name of the experiment.
        entry: the entry of the experiment in params.yaml.
        model: registry entry of the model.
        config: values of all switches of the model.
        training: all training params.
    """

    name: str
    entry: ExperimentParams
    model: ModelEntry
    config: BaseModel
    training: TrainingParams


def experiment_of(name: str, params: Params) -> Experiment:
    """Find an experiment of params.yaml by name, check it, and fill in all defaults.

    Raises:
        UsageError: the experiment is unknown, or its model, preset, switches or modalities are wrong.
    """
    if name not in params.experiments:
        raise UsageError(f"unknown experiment {name!r}", hint=suggestion(name, params.experiments))
    entry = params.experiments[name]
    if entry.model not in MODELS:
        raise UsageError(
            f"experiment {name!r}: unknown model {entry.model!r}", hint=suggestion(entry.model, MODELS)
        )
    model = MODELS[entry.model]
    bad = [
        f"modality {m!r} is not one of {', '.join(model.modalities)}"
        for m in entry.features
        if m not in model.modalities
    ]
    bad += [f"modality {m!r} names no feature" for m, names in entry.features.items() if not names]
    bad += [
        f"modality {m!r} names {len(names)} features, this model takes {len(model.roles[m])} "
        f"({', '.join(model.roles[m])})"
        for m, names in entry.features.items()
        if m in model.roles and len(names) > len(model.roles[m])
    ]
    if entry.task not in model.tasks:
        bad.append(f"model {model.key} does not do the task {entry.task!r}")
    if bad:
        raise UsageError(f"experiment {name!r} in params.yaml cannot be used; correct it", details=bad)
    recipe = None if entry.recipe is None else model.recipe(entry.recipe)
    training = params.training_of(entry, recipe)
    _check_metric(name, training)
    return Experiment(name, entry, model, model.resolve(entry.preset, entry.config), training)


def _check_metric(name: str, training: TrainingParams) -> None:
    """Check that the metric `training.select`, by which the best epoch is chosen, exists and suits this purpose.

    Raises:
        UsageError: the metric is unknown, or it cannot be computed from a confusion matrix.
    """
    usable = {key: metric for key, metric in METRICS.items() if metric.of_rates is not None}
    if training.select not in usable:
        raise UsageError(
            f"experiment {name!r}: training.select names no metric that can choose an epoch: {training.select!r}",
            hint=suggestion(training.select, usable),
        )


def check_experiments(params: Params) -> None:
    """Check that every experiment of params.yaml can be resolved: its features, recipe, metric and switches.

    Raises:
        ParamsError: some cannot. The details list what is wrong with each of them.
    """
    found = []
    for name in params.experiments:
        try:
            experiment_of(name, params)
        except UsageError as error:
            words = "; ".join(filter(None, [error.message, *error.details, error.hint]))
            found.append(words if repr(name) in words else f"experiment {name!r}: {words}")
    if found:
        wrong = count_noun(len(found), "experiment")
        raise ParamsError(f"{PARAMS_FILE}: {wrong} cannot be used", details=found, hint=FIX_AND_RERUN)
