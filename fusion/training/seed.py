"""Trains one seed of an experiment: its data, its model, and the epoch chosen on validation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ercache.errors import UsageError
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, set_seeds, threads_for
from ercache.training.loop import EpochReport, TrainingHistory, concatenate_histories, fit
from fusion.data.batches import (
    Batch,
    PaddedBatches,
    Statistics,
    Subset,
    standardized_on_device,
    statistics_of,
)
from fusion.data.modality_dropout import drop_modalities
from fusion.data.ragged import Ragged
from fusion.data.stages import Stage
from fusion.data.windows import context_window_of
from fusion.experiment.resolve import Experiment
from fusion.experiment.source import Source
from fusion.layers.losses import loss_of
from fusion.models.hooks import hooks_of
from fusion.runs.predict import validation_scores
from fusion.training.hard_examples import HardExampleBatches

EpochCallback = Callable[[str, EpochReport], None]  # (name of the training, the epoch that has ended)


@dataclass(frozen=True)
class TrainedSeed:
    """One trained seed: the model at its best epoch, and the history of its training."""

    seed: int
    model: nn.Module
    progress: TrainingHistory


@dataclass(frozen=True)
class Datasets:
    """Train and validation data, standardised and on the device. Test data are never part of it.

    Attributes:
        statistics: what the features were standardised with; None if they were not.
    """

    train: Subset
    dev: Subset
    statistics: Statistics | None


def prepare_datasets(source: Source, training: TrainingParams, device: str) -> Datasets:
    """Make the train and validation data of an experiment, as the models see them."""
    train, dev = source.subset("train"), source.subset("dev")
    statistics = statistics_of(train) if training.standardize else None
    return Datasets(
        standardized_on_device(train, statistics, device),
        standardized_on_device(dev, statistics, device),
        statistics,
    )


def build_model(experiment: Experiment, datasets: Datasets, classes: int) -> nn.Module:
    """Build the model of an experiment, on the device of its data.

    Raises:
        UsageError: a sequence of the model is too short in every utterance of train, or its hooks are wrong.
    """
    model = experiment.model.build(datasets.train.widths, classes, experiment.config)
    hooks = hooks_of(model)
    check_lengths(hooks.minimum_steps, datasets.train.sequences)
    model = model.to(datasets.train.labels.device)
    hooks.set_means(statistics_of(datasets.train).mean)
    return model


def check_lengths(minimum_steps: Mapping[str, int], sequences: Mapping[str, Ragged]) -> None:
    """Refuse sequences that are too short for the model in every utterance; it would treat them as absent.

    Args:
        minimum_steps: modality -> number of steps that the model needs, if it needs more than one.
        sequences: role -> steps of train.

    Raises:
        UsageError: a role is too short in every utterance.
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
    datasets: Datasets,
    classes: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: EpochCallback | None = None,
) -> TrainedSeed:
    """Train one seed, stage after stage if the model has stages. Each stage chooses its epoch on validation.

    Args:
        experiment: the experiment.
        datasets: train and validation.
        classes: number of classes.
        seed: the seed.
        checkpoint: file for the state of a killed training; None: nothing is saved.
        progress: called after each epoch.
    """
    whole = Stage(experiment.training, context_window_of(experiment.entry))
    set_seeds(seed)
    model = build_model(experiment, datasets, classes)

    def tick(epoch: EpochReport) -> None:
        if progress is not None:
            progress(f"{experiment.name}, seed {seed}", epoch)

    past: list[TrainingHistory] = []
    with deterministic(threads_for(model)):
        for number, stage in enumerate(hooks_of(model).stages(whole)):
            state = checkpoint
            if number:  # so that a resumed training starts this stage with the same random state
                set_seeds(seed)
                state = checkpoint and checkpoint.with_stem(f"{checkpoint.stem}-{number}")
            past.append(_train_stage(model, stage, datasets, classes, seed, state, tick))
    return TrainedSeed(seed, model, concatenate_histories(past))


def _train_stage(
    model: nn.Module,
    stage: Stage,
    datasets: Datasets,
    classes: int,
    seed: int,
    checkpoint: Path | None,
    tick: Callable[[EpochReport], None],
) -> TrainingHistory:
    training = stage.training
    hooks = hooks_of(model)
    starts = [hooks.on_epoch_start]
    train: PaddedBatches | HardExampleBatches = PaddedBatches(datasets.train, stage.window)
    if stage.pool is not None:
        draws = torch.Generator().manual_seed(seed)
        if hooks.flips is None:
            raise UsageError(
                f"model {type(model).__name__}: a stage has a pool, and the model has no `flips`"
            )
        train = HardExampleBatches(
            model, hooks.flips, stage.pool, datasets.train, datasets.dev, stage.window, draws
        )
        starts.append(train.on_epoch_start)
    dev = PaddedBatches(datasets.dev, stage.window)

    def batches(order: torch.Generator) -> Iterator[Batch]:
        for batch in train.shuffled(training.batch, order):
            share = training.modality_dropout
            yield drop_modalities(batch, share, order) if share else batch

    measure = loss_of(training, datasets.train.labels, classes)

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
