"""Defines the registry entry of a fusion model (`ModelEntry`), and helpers that the models share."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.load import schema_errors, suggestion
from ercache.params.schema import TrainingParams

Widths = Mapping[str, int]


def no_marks(config: Any) -> list[str]:
    """Return an empty list: the default for models whose results need no notes (marks)."""
    return []


def no_checkpoints(config: Any, modalities: Collection[str]) -> list[str]:
    """Return an empty list: the default for models that start from random weights."""
    return []


def no_idle_switches(config: Any, roles: Collection[str]) -> dict[str, str]:
    """Return an empty dict: the default for models in which every switch has an effect with all inputs."""
    return {}


@dataclass(frozen=True)
class ModelEntry:
    """The registry entry of a fusion model: what it takes, how to build it, and how its paper trains it.

    Attributes:
        key: name of the model in params.yaml.
        paper: title of the paper; for a baseline, what it does.
        tasks: `erc` (recognition), `epc` (prediction) or both.
        modalities: the modalities that the model can take.
        config: pydantic class of the model's switches (`frozen=True`, `extra="forbid"`). Every switch is a field with a
            description. A switch that makes a row of a published table names the row in
            `json_schema_extra={"paper_row": ...}`.
        presets: name of a preset -> values of switches that differ from their defaults.
        build: (feature sizes, number of classes, config) -> torch module. The module's forward takes a `Batch` of B
            dialogues with L utterances and returns logits [B, L, C] for C classes. The module may also define the
            hooks of fusion/models/hooks.py.
        widths, classes: feature sizes and number of classes for which `describe` counts parameters; those of the
            paper if it gives any.
        roles: only for models that take sequences: modality -> names of the model's inputs (roles). An experiment
            names one feature for each role, in this order; the last ones may be left out. Such a model gets
            `Batch.steps` instead of `Batch.features`, and `widths` holds the size of a step for each role.
        recipes: name of a training recipe -> training params that differ from the defaults of `TrainingParams`. `paper`
            is the recipe of the model's paper. An experiment names a recipe with `training: paper`.
        pair_bytes: (config, number of modalities) -> measured bytes of memory that training needs for each pair of
            utterances of a dialogue; None if memory does not grow with the number of pairs.
        marks: config -> notes that must stand beside every result with this config.
        checkpoints: (config, modalities) -> keys of the checkpoints that the model itself loads.
        idle: (config, modalities or roles that have a feature) -> the switches that then have no effect, as a dict from
            the name of a switch to the reason.
    """

    key: str
    paper: str
    tasks: tuple[str, ...]
    modalities: tuple[str, ...]
    config: type[BaseModel]
    presets: Mapping[str, Mapping[str, Any]]
    build: Callable[[Widths, int, Any], nn.Module]
    widths: Widths = field(default_factory=lambda: {"text": 384, "audio": 64, "visual": 128})
    classes: int = 7
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pair_bytes: Callable[[Any, int], float] | None = None
    marks: Callable[[Any], list[str]] = no_marks
    checkpoints: Callable[[Any, Collection[str]], list[str]] = no_checkpoints
    idle: Callable[[Any, Collection[str]], Mapping[str, str]] = no_idle_switches

    def resolve(self, preset: str, overrides: Mapping[str, Any]) -> BaseModel:
        """Return the config (all switches) of a preset; values in `overrides` replace those of the preset.

        Raises:
            UsageError: the preset or a switch is unknown, or a value is wrong.
        """
        if preset not in self.presets:
            raise UsageError(
                f"model {self.key}: unknown preset {preset!r}", hint=suggestion(preset, self.presets)
            )
        values = {**self.presets[preset], **overrides}
        wrong = schema_errors(self.config, values, "config")
        if wrong:
            raise UsageError(
                f"model {self.key}: unknown switches or wrong values in `config` (`ercache models` lists the switches)",
                details=wrong,
            )
        return self.config(**values)

    def recipe(self, name: str) -> TrainingParams:
        """Return the complete training params of a recipe. The number of seeds is not part of a recipe.

        Raises:
            UsageError: the model has no such recipe.
        """
        if name not in self.recipes:
            known = (
                suggestion(name, self.recipes) if self.recipes else "it has none: give the training params"
            )
            raise UsageError(f"model {self.key}: unknown training recipe {name!r}", hint=known)
        return TrainingParams(**self.recipes[name])

    def describe(self) -> dict[str, Any]:
        """Describe the model for `ercache models`: the size of every preset, the training recipes, and all switches."""
        rows = paper_rows(self.config)
        return {
            "key": self.key,
            "paper": self.paper,
            "tasks": list(self.tasks),
            "modalities": list(self.modalities),
            "parameters": {preset: self._count(preset) for preset in self.presets},
            "counted_for": {"widths": dict(self.widths), "classes": self.classes},
            "recipes": {
                name: self.recipe(name).model_dump(mode="json", exclude={"seeds"}) for name in self.recipes
            },
            "switches": [
                {
                    "name": name,
                    "default": info.default,
                    "choices": _choices(info.annotation),
                    "description": info.description or "",
                    "paper_row": rows.get(name),
                }
                for name, info in self.config.model_fields.items()
            ],
        }

    def _count(self, preset: str) -> int:
        with torch.device("meta"):  # sizes without memory
            return parameters(self.build(self.widths, self.classes, self.resolve(preset, {})))


def faults_of(entry: Any) -> list[str]:
    """Check whether a registry entry is a `ModelEntry` with a preset; return one sentence for each fault."""
    if not isinstance(entry, ModelEntry):
        return [f"{entry!r} is no ModelEntry"]
    if not entry.presets:
        return [f"{entry.key} has no preset"]
    return []


def paper_rows(config: type[BaseModel]) -> dict[str, Any]:
    """Return the switches with which rows of published tables are reproduced: name of the switch -> name of the row."""
    extras = {name: info.json_schema_extra for name, info in config.model_fields.items()}
    return {
        name: extra["paper_row"]
        for name, extra in extras.items()
        if isinstance(extra, dict) and "paper_row" in extra
    }


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters of a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort modalities into the order text, audio, visual."""
    return sorted(names, key=MODALITIES.index)


def join_features(features: Mapping[str, Tensor], present: Mapping[str, Tensor], presence: bool) -> Tensor:
    """Concatenate the features of all modalities of each utterance.

    Args:
        features: modality -> features [B, L, D] of B dialogues, L utterances and D values.
        present: modality -> bool [B, L]; whether the utterance has the modality.
        presence: append one value for each modality: 1 if the utterance has it, else 0.

    Returns:
        Joined features [B, L, sum of all D], with `presence` [B, L, sum of all D + number of modalities].
    """
    names = in_order(features)
    inputs = [features[m] for m in names]
    flags = [present[m].unsqueeze(-1).to(inputs[0].dtype) for m in names] if presence else []
    return torch.cat([*inputs, *flags], dim=-1)


def joined_width(widths: Widths, presence: bool) -> int:
    """Return the size of the joined features of an utterance, the last dimension of what `join_features` returns."""
    return sum(widths.values()) + (len(widths) if presence else 0)


def _choices(annotation: Any) -> list[Any] | None:
    if annotation is bool:
        return [True, False]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else None
