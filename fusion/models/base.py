"""What a fusion model is: one entry of the registry, made by the model's own file."""

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
    """The marks of a model whose configs need none."""
    return []


@dataclass(frozen=True)
class ModelEntry:
    """A model of the registry.

    Attributes:
        paper: where it is from.
        config: pydantic class (frozen, extra forbidden); every switch is a field with a description, and may say
            in `json_schema_extra={"paper_row": ...}` which published row it makes.
        presets: name -> values of the config that differ from its defaults.
        build: (widths of the features, number of classes, config) -> module; its forward takes a `Batch` and
            returns logits [B, L, C]. What else it may offer stands in fusion/models/hooks.py.
        marks: config -> what must stand beside every result of such a config.
        widths, classes: the sizes that `describe` counts parameters for; the paper's where it gives any.
        paper_encoders: modality (or role) -> key of the paper's own encoder, where it has one here.
        roles: modality -> roles of the sequences that the model takes of it, in the order in which an experiment names
            their features, each of which may be left out from the end; empty for a model on pooled vectors. `widths`
            then has the size of a step of each role, and a batch has `steps` instead of `features`.
        paper_training: preset -> the training values that the paper's results have with it; only presets that are
            the paper's are named.
        pair_bytes: (config, number of modalities) -> bytes that a training holds for each pair of utterances of a
            dialogue, as measured; None where memory grows with the length alone.
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
        """The config of a preset with single switches overridden.

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
        """What `ercache models` shows: parameters of every preset, and the switches."""
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
    """What an entry of the registry lacks, in words."""
    if not isinstance(entry, ModelEntry):
        return [f"{entry!r} is no ModelEntry"]
    if not entry.presets:
        return [f"{entry.key} has no preset"]
    return []


def paper_rows(config: type[BaseModel]) -> dict[str, Any]:
    """Switch -> the published row that it makes, for the switches that make one."""
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
    """Modalities in the order text, audio, visual."""
    return sorted(names, key=MODALITIES.index)


def joined(features: Mapping[str, Tensor], present: Mapping[str, Tensor], presence: bool) -> Tensor:
    """All modalities of an utterance side by side, with one 0/1 input for the presence of each if asked for.

    Returns:
        [B, L, sum D (+ number of modalities)].
    """
    names = in_order(features)
    inputs = [features[m] for m in names]
    flags = [present[m].unsqueeze(-1).to(inputs[0].dtype) for m in names] if presence else []
    return torch.cat([*inputs, *flags], dim=-1)


def joined_width(widths: Widths, presence: bool) -> int:
    """Last size of `joined`."""
    return sum(widths.values()) + (len(widths) if presence else 0)


def _choices(annotation: Any) -> list[Any] | None:
    if annotation is bool:
        return [True, False]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else None
