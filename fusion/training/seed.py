"""Trains an experiment with one seed: prepares the data, builds the model, and chooses the epoch on validation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ercache.errors import UsageError
from ercache.metrics import METRICS
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, set_seeds, threads_for
from ercache.training.loop import EpochReport, TrainingHistory, concatenate_histories, fit
from ercache.training.selection import score_of
from fusion.data.batches import (
    Batch,
    PaddedBatches,
    Statistics,
    Subset,
    standardized_on_device,
    statistics_of,
)
from fusion.data.labels import LabelSpace
from fusion.data.modality_dropout import drop_modalities
from fusion.data.ragged import Ragged
from fusion.data.stages import Stage
from fusion.data.windows import context_window_of
from fusion.experiment.resolve import Experiment
from fusion.experiment.source import Source
from fusion.layers.label_losses import loss_of
from fusion.models.hooks import hooks_of
from fusion.runs.predict import validation_scores
from fusion.training.hard_examples import HardExampleBatches

EpochCallback = Callable[[str, EpochReport], None]  # (name of the training, the epoch that has ended)


@dataclass(frozen=True)
class TrainedSeed:
    """The model that was trained with one seed, and the history of its training.

    Attributes:
        seed: the seed.
        model: the model at its best epoch.
        progress: losses and scores of all epochs.
    """

    seed: int
    model: nn.Module
    progress: TrainingHistory


@dataclass(frozen=True)
class Datasets:
    """Training and validation data of an experiment, z-scored if the experiment says so, and on one torch device.

    Never holds test data.

    Attributes:
        train: the training data.
        dev: the validation data.
        statistics: mean and standard deviation with which features were standardised; None if they were not.
    """

    train: Subset
    dev: Subset
    statistics: Statistics | None


def prepare_datasets(source: Source, training: TrainingParams, device: str) -> Datasets:
    """Make an experiment's training and validation data on a torch device; z-scored if `training.standardize` is on.

    Raises:
        UsageError: the label set has another number of classes than `training.select` needs.
    """
    check_selection(training.select, source.labels)
    train, dev = source.subset("train"), source.subset("dev")
    statistics = statistics_of(train) if training.standardize else None
    return Datasets(
        standardized_on_device(train, statistics, device),
        standardized_on_device(dev, statistics, device),
        statistics,
    )


def check_selection(select: str, labels: LabelSpace) -> None:
    """Check that `training.select`, the metric by which the best epoch is chosen, can be computed for the labels.

    Raises:
        UsageError: the metric needs another number of classes, or a task with one label for each utterance.
    """
    needed = METRICS[select].classes
    if needed is not None and (labels.multi or needed != len(labels.classes)):
        kind = "several emotions at once" if labels.multi else f"{len(labels.classes)} classes"
        raise UsageError(
            f"training.select: {select} needs a label set with {needed} classes, this one has {kind}",
            hint="select by weighted_f1, or take another label set",
        )


def build_model(experiment: Experiment, datasets: Datasets, classes: int) -> nn.Module:
    """Build the untrained model of an experiment, on the device that holds the data.

    Raises:
        UsageError: the model's hooks are wrong, or all training utterances are too short for an input of the model.
    """
    model = experiment.model.build(datasets.train.widths, classes, experiment.config)
    hooks = hooks_of(model)
    check_lengths(hooks.minimum_steps, datasets.train.sequences)
    model = model.to(datasets.train.labels.device)
    hooks.set_means(statistics_of(datasets.train).mean)
    return model


def check_lengths(minimum_steps: Mapping[str, int], sequences: Mapping[str, Ragged]) -> None:
    """Check that each input of the model has at least one training utterance with enough steps.

    The model would treat shorter utterances as absent.

    Args:
        minimum_steps: modality -> smallest number of steps that the model needs, for modalities that need more than
            one.
        sequences: role (an input of the model) -> steps of the training utterances.

    Raises:
        UsageError: all training utterances are too short for a role.
    """
    for role, steps in sequences.items():
        least, longest = minimum_steps.get(steps.modality, 1), int(steps.lengths.max())
        if longest < least:
            raise UsageError(
                f"model input {role!r}: the model needs at least {least} steps, but the longest training utterance "
                f"has {longest}",
                hint="take a feature with shorter steps, so that a second of speech or video has more of them",
            )


def train_seed(
    experiment: Experiment,
    datasets: Datasets,
    classes: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: EpochCallback | None = None,
) -> TrainedSeed:
    """Train the model of an experiment with one seed. The best epoch is chosen on the validation data.

    A model with several training stages is trained stage after stage; each stage starts from the best epoch of
    the stage before.

    Args:
        experiment: the experiment.
        datasets: training and validation data.
        classes: number of classes.
        seed: the seed.
        checkpoint: file in which the training saves its state, to continue after a kill; None to save nothing.
        progress: called after each epoch with the name of the experiment and seed, and a report of the epoch.
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
                f"model {type(model).__name__}: a training stage has a pool of hard examples, which needs the hook "
                "`flips`; define this method in the model, or train without a pool"
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
        evaluate=lambda: {
            **validation_scores(model, dev, classes, training.select),
            **hooks.epoch_statistics(),
        },
        score=score_of(training.select),
        checkpoint=checkpoint,
        on_epoch_start=on_epoch_start,
        learning_rates=hooks.learning_rates,
        tick=tick,
    )
