"""The registry entry of a fusion model, which the model's own file makes, and helpers that models share."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.load import schema_errors, suggestion

Widths = Mapping[str, int]


def no_marks(config: Any) -> list[str]:
    """The marks of a model without marks."""
    return []


@dataclass(frozen=True)
class ModelEntry:
    """A model of the registry.

    Attributes:
        key: its name in params.yaml.
        paper: title of the paper, or what kind of baseline it is.
        tasks: `erc`, `epc` or both.
        modalities: the modalities that it can take.
        config: pydantic class (frozen, extra forbidden). Every switch is a field with a description. A switch that
            makes a row of a published table names it in `json_schema_extra={"paper_row": ...}`.
        presets: name -> values of the config that differ from its defaults.
        build: (widths of the features, number of classes, config) -> module. Its forward takes a `Batch` and returns
            logits [B, L, C]. Optional hooks: fusion/models/hooks.py.
        widths, classes: sizes for which `describe` counts parameters; the paper's, if it gives any.
        paper_encoders: modality (or role) -> key of the paper's encoder, if it exists here.
        roles: only for a model on sequences: modality -> its roles. An experiment names one feature for each role, in
            this order; the last ones may be left out. The model gets `Batch.steps` instead of `Batch.features`, and
            `widths` holds the size of a step of each role.
        paper_training: preset -> the paper's training values; only for the paper's presets.
        pair_bytes: (config, number of modalities) -> measured bytes that a training needs for each pair of utterances
            of a dialogue; None if memory grows only with the length.
        marks: config -> notes that every result with this config must carry.
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
    paper_encoders: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paper_training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pair_bytes: Callable[[Any, int], float] | None = None
    marks: Callable[[Any], list[str]] = no_marks

    def resolve(self, preset: str, overrides: Mapping[str, Any]) -> BaseModel:
        """Make the config of a preset, with some switches overridden.

        Raises:
            UsageError: the preset is unknown, or a value is wrong.
        """
        if preset not in self.presets:
            raise UsageError(
                f"model {self.key}: unknown preset {preset!r}", hint=suggestion(preset, self.presets)
            )
        values = {**self.presets[preset], **overrides}
        wrong = schema_errors(self.config, values, "config")
        if wrong:
            raise UsageError(f"model {self.key}: wrong switches", details=wrong)
        return self.config(**values)

    def describe(self) -> dict[str, Any]:
        """What `ercache models` shows: the parameters of every preset, and the switches."""
        rows = paper_rows(self.config)
        return {
            "key": self.key,
            "paper": self.paper,
            "tasks": list(self.tasks),
            "modalities": list(self.modalities),
            "parameters": {preset: self._count(preset) for preset in self.presets},
            "counted_for": {"widths": dict(self.widths), "classes": self.classes},
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
    """What is wrong with an entry of the registry, one sentence each."""
    if not isinstance(entry, ModelEntry):
        return [f"{entry!r} is no ModelEntry"]
    if not entry.presets:
        return [f"{entry.key} has no preset"]
    return []


def paper_rows(config: type[BaseModel]) -> dict[str, Any]:
    """Switch -> the published row that it makes, for switches that make one."""
    extras = {name: info.json_schema_extra for name, info in config.model_fields.items()}
    return {
        name: extra["paper_row"]
        for name, extra in extras.items()
        if isinstance(extra, dict) and "paper_row" in extra
    }


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort modalities into the order text, audio, visual."""
    return sorted(names, key=MODALITIES.index)


def join_features(features: Mapping[str, Tensor], present: Mapping[str, Tensor], presence: bool) -> Tensor:
    """Concatenate the modalities of each utterance.

    Args:
        features: modality -> [B, L, D].
        present: modality -> bool [B, L].
        presence: add one 0/1 input for each modality, whether the utterance has it.

    Returns:
        [B, L, sum of D (+ number of modalities)].
    """
    names = in_order(features)
    inputs = [features[m] for m in names]
    flags = [present[m].unsqueeze(-1).to(inputs[0].dtype) for m in names] if presence else []
    return torch.cat([*inputs, *flags], dim=-1)


def joined_width(widths: Widths, presence: bool) -> int:
    """Last dimension of the result of `join_features`."""
    return sum(widths.values()) + (len(widths) if presence else 0)


def _choices(annotation: Any) -> list[Any] | None:
    if annotation is bool:
        return [True, False]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else None
