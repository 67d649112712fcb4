"""Resolves an experiment of params.yaml: its model, the model's switches, and the training."""

from dataclasses import dataclass

from pydantic import BaseModel

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.params.schema import ExperimentParams, Params, TrainingParams
from fusion.models import MODELS
from fusion.models.base import ModelEntry


@dataclass(frozen=True)
class Experiment:
    """An experiment of params.yaml with all defaults filled in.

    Attributes:
        name: its name.
        entry: its entry in params.yaml.
        model: the model that it names.
        config: the model's switches.
        training: the training params.
    """

    name: str
    entry: ExperimentParams
    model: ModelEntry
    config: BaseModel
    training: TrainingParams


def experiment_of(name: str, params: Params) -> Experiment:
    """Resolve an experiment of params.yaml.

    Raises:
        UsageError: it is unknown, or its model, preset, switches or modalities are wrong.
    """
    if name not in params.experiments:
        raise UsageError(f"unknown experiment {name!r}", hint=suggestion(name, params.experiments))
    entry = params.experiments[name]
    if entry.model not in MODELS:
        raise UsageError(f"{name}: unknown model {entry.model!r}", hint=suggestion(entry.model, MODELS))
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
        raise UsageError(f"{name}: unusable experiment", details=bad)
    return Experiment(
        name, entry, model, model.resolve(entry.preset, entry.config), params.training_of(entry)
    )
