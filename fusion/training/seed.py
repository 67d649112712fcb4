"""Training of one seed of an experiment: material, model, epoch chosen on validation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ercache.errors import UsageError
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, set_seeds, threads_for
from ercache.training.loop import Epoch, Progress, fit, one_after_another
from fusion.data.batches import Batch, Padded, Statistics, Subset, seen, statistics_of
from fusion.data.modality_dropout import without_some
from fusion.data.ragged import Ragged
from fusion.data.stages import Stage
from fusion.data.windows import view_of
from fusion.experiment.resolve import Experiment
from fusion.experiment.source import Source
from fusion.layers.losses import loss_of
from fusion.models.hooks import hooks_of
from fusion.runs.predict import validation_scores
from fusion.training.hard_examples import Mined

Tick = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class Trained:
    """One seed: the model at its best epoch, and its past."""

    seed: int
    model: nn.Module
    progress: Progress


@dataclass(frozen=True)
class Material:
    """Train and validation, standardised and on the device; test is not among them."""

    train: Subset
    dev: Subset
    statistics: Statistics | None


def prepare(source: Source, training: TrainingParams, device: str) -> Material:
    """Train and validation as the models see them."""
    train, dev = source.subset("train"), source.subset("dev")
    statistics = statistics_of(train) if training.standardize else None
    return Material(seen(train, statistics, device), seen(dev, statistics, device), statistics)


def build_model(experiment: Experiment, material: Material, classes: int) -> nn.Module:
    """The model of an experiment, where its material is.

    Raises:
        UsageError: what it is to hear or see is too short for it in every utterance of train.
    """
    model = experiment.model.build(material.train.widths, classes, experiment.config)
    hooks = hooks_of(model)
    check_lengths(hooks.minimum_steps, material.train.sequences)
    model = model.to(material.train.labels.device)
    hooks.set_means(statistics_of(material.train).mean)
    return model


def check_lengths(minimum_steps: Mapping[str, int], sequences: Mapping[str, Ragged]) -> None:
    """A modality that is too short in every utterance would be trained on as absent.

    Args:
        minimum_steps: modality -> steps that a model needs of it, where that is more than one.

    Raises:
        UsageError: there is such a modality.
    """
    for role, steps in sequences.items():
        least, longest = minimum_steps.get(steps.modality, 1), int(steps.lengths.max())
        if longest < least:
            raise UsageError(
                f"{role}: the model needs {least} steps of an utterance, and the longest of train has {longest}",
                hint="take a feature with shorter steps",
            )


def train_seed(
    experiment: Experiment,
    material: Material,
    classes: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: Tick | None = None,
) -> Trained:
    """Train one seed on train, stage by stage where its model has stages, epochs chosen on validation."""
    whole = Stage(experiment.training, view_of(experiment.entry))
    set_seeds(seed)
    model = build_model(experiment, material, classes)

    def tick(epoch: Epoch) -> None:
        if progress is not None:
            progress(f"{experiment.name}, seed {seed}", epoch)

    past: list[Progress] = []
    with deterministic(threads_for(model)):
        for number, stage in enumerate(hooks_of(model).stages(whole)):
            state = checkpoint
            if number:  # a killed training must begin this stage as one that was not killed
                set_seeds(seed)
                state = checkpoint and checkpoint.with_stem(f"{checkpoint.stem}-{number}")
            past.append(_train_stage(model, stage, material, classes, seed, state, tick))
    return Trained(seed, model, one_after_another(past))


def _train_stage(
    model: nn.Module,
    stage: Stage,
    material: Material,
    classes: int,
    seed: int,
    checkpoint: Path | None,
    tick: Callable[[Epoch], None],
) -> Progress:
    training = stage.training
    hooks = hooks_of(model)
    starts = [hooks.on_epoch_start]
    train: Padded | Mined = Padded(material.train, stage.view)
    if stage.pool is not None:
        draws = torch.Generator().manual_seed(seed)
        if hooks.flips is None:
            raise UsageError(
                f"model {type(model).__name__}: a stage has a pool, and the model has no `flips`"
            )
        train = Mined(model, hooks.flips, stage.pool, material.train, material.dev, stage.view, draws)
        starts.append(train.on_epoch_start)
    dev = Padded(material.dev, stage.view)

    def batches(order: torch.Generator) -> Iterator[Batch]:
        for batch in train.shuffled(training.batch, order):
            share = training.modality_dropout
            yield without_some(batch, share, order) if share else batch

    measure = loss_of(training, material.train.labels, classes)

    def on_epoch_start(epoch: int) -> None:
        for start in starts:
            start(epoch)

    return fit(
        model,
        training,
        seed,
        batches=batches,
        loss=lambda batch: hooks.objective(batch, measure),
        evaluate=lambda: {**validation_scores(model, dev, classes), **hooks.epoch_statistics()},
        checkpoint=checkpoint,
        on_epoch_start=on_epoch_start,
        learning_rates=hooks.learning_rates,
        tick=tick,
    )
