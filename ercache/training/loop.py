"""The training loop of every network.

It is seeded and deterministic, chooses the best epoch on validation data, and can resume a killed run with equal
results, bit for bit.
"""

import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ercache.errors import WorkError
from ercache.files import atomic_file
from ercache.params.schema import TrainingParams
from ercache.training.determinism import random_states, set_random_states
from ercache.training.losses import penalty
from ercache.training.optimizers import Stepping, by_epochs, optimizer_of
from ercache.training.selection import SCORE

CHECKPOINT_SECONDS = 2.0
CHECKPOINT_PAUSE = 20  # times what the last one took: the state of a large model takes seconds to write

Row = dict[str, float]
T = TypeVar("T")


@dataclass
class TrainingHistory:
    """The epochs that a training run has completed, as plain values and tensors.

    Attributes:
        history: one dictionary per epoch: `epoch`, `train_loss` and the scores that `evaluate` returned.
        best_epoch: number of the epoch with the highest validation score, counted from 1; the first one if several are
            equal.
        best_score: validation score of the best epoch.
        best: weights of the model after the best epoch.
        last: weights of the model after the last epoch; empty until the run has finished.
        finished: whether the run has ended: all epochs are done, or patience is used up.
    """

    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = False


def concatenate_histories(parts: Sequence[TrainingHistory]) -> TrainingHistory:
    """Join the histories of a model's successive training stages into one history.

    Epochs are numbered continuously through all stages. The best epoch and its weights are those of the last stage.
    """
    before = sum(len(part.history) for part in parts[:-1])
    rows = [row for part in parts for row in part.history]
    history = [{**row, "epoch": number} for number, row in enumerate(rows, 1)]
    return replace(parts[-1], history=history, best_epoch=before + parts[-1].best_epoch)


@dataclass(frozen=True)
class EpochReport:
    """What the progress display of a training run shows after a finished epoch.

    Attributes:
        row: dictionary with `epoch`, `train_loss` and the validation scores of this epoch.
        last: largest number of epochs of the run.
        best: number of the epoch with the highest validation score so far.
        best_score: validation score of epoch `best`.
        score: name of the validation score in `row`.
        finished: whether the run ends with this epoch.
    """

    row: Row
    last: int
    best: int
    best_score: float
    score: str
    finished: bool

    @property
    def number(self) -> int:
        """Number of the finished epoch, counted from 1."""
        return int(self.row["epoch"])


def fit(
    model: nn.Module,
    params: TrainingParams,
    seed: int,
    *,
    batches: Callable[[torch.Generator], Iterable[T]],
    loss: Callable[[T], tuple[Tensor, int]],
    evaluate: Callable[[], Mapping[str, float]],
    checkpoint: Path | None = None,
    score: str = SCORE,
    stepping: Stepping | None = None,
    on_epoch_start: Callable[[int], None] = lambda _: None,
    learning_rates: Mapping[str, float] | None = None,
    tick: Callable[[EpochReport], None] = lambda _: None,
) -> TrainingHistory:
    """Train a model until its validation score stops rising, and give it the weights of its best epoch.

    If a run was killed, call `fit` again with the same arguments. It resumes and gives the same result, bit for bit.

    Args:
        model: network, built after `set_seeds(seed)`.
        params: optimizer, schedule, number of epochs, patience, clipping.
        seed: seed for the order of the batches.
        batches: function that returns the batches of one epoch. All randomness must come from the generator it is
            given.
        loss: function that returns the mean loss of a batch and the number of examples in it. A batch without examples
            is skipped.
        evaluate: function that returns validation scores, including the one named by `score`. It is called once per
            epoch, in eval mode and without gradients.
        checkpoint: file that keeps the state of the run, for resuming. If None, a killed run cannot resume.
        score: name of the validation score that decides the best epoch.
        stepping: optimizer and learning rate schedule that replace those of `params`; None to use `params`.
        on_epoch_start: function that is called before each epoch with the number of finished epochs.
        learning_rates: beginning of parameter names -> factor on the learning rate of these parameters.
        tick: function that is called with an `EpochReport` after each epoch.

    Returns:
        The scores of all epochs, the best epoch, and the weights after the best and after the last epoch.

    Raises:
        WorkError: the training loss is infinite or NaN, or the checkpoint is damaged.
    """
    state = _State(model, params, seed, score, stepping, learning_rates or {})
    if checkpoint is not None and checkpoint.is_file():
        state.load(checkpoint)
    saved, cost = time.monotonic(), 0.0
    while not state.progress.finished:
        on_epoch_start(len(state.progress.history))
        row = {"train_loss": _epoch(state, batches, loss), **_evaluation(model, evaluate)}
        state.note(row)
        began = time.monotonic()
        due = state.progress.finished or began - saved >= max(CHECKPOINT_SECONDS, CHECKPOINT_PAUSE * cost)
        if checkpoint is not None and due:
            state.save(checkpoint)
            saved = time.monotonic()
            cost = saved - began
        tick(state.report())
    model.load_state_dict(state.progress.best)
    model.eval()
    return state.progress


def _epoch(
    state: "_State",
    batches: Callable[[torch.Generator], Iterable[T]],
    loss: Callable[[T], tuple[Tensor, int]],
) -> float:
    state.model.train()
    total, examples, waiting = 0.0, 0, 0
    for batch in batches(state.order):
        value, count = loss(batch)
        if count == 0:
            continue
        extra = penalty(state.model, state.params)
        ((value if extra is None else value + extra) / state.accumulate).backward()  # type: ignore[no-untyped-call]
        waiting += 1
        if waiting == state.accumulate:
            state.step()
            waiting = 0
        total, examples = total + float(value.detach()) * count, examples + count
    if waiting:  # the last step of an epoch may have fewer batches; its gradients are a mean of these
        state.scale_gradients(state.accumulate / waiting)
        state.step()
    if not np.isfinite(total):
        raise WorkError(
            f"the training loss is {total} in epoch {len(state.progress.history) + 1}",
            hint="lower training.lr, look for extreme values in the features, or set training.standardize: true",
        )
    return total / max(1, examples)


@torch.no_grad()
def _evaluation(model: nn.Module, evaluate: Callable[[], Mapping[str, float]]) -> Row:
    model.eval()
    return dict(evaluate())


class _State:
    """Everything that determines the next epoch of a run: weights, optimizer, schedules and random generators."""

    def __init__(
        self,
        model: nn.Module,
        params: TrainingParams,
        seed: int,
        score: str,
        stepping: Stepping | None,
        learning_rates: Mapping[str, float],
    ) -> None:
        self.model, self.params, self.score = model, params, score
        self.optimizer = (
            stepping.optimizer(model) if stepping else optimizer_of(model, params, learning_rates)
        )
        self.accumulate = stepping.accumulate if stepping else 1
        self.schedule = stepping.schedule(self.optimizer) if stepping and stepping.schedule else None
        self.plateau = (
            None
            if stepping or params.schedule != "plateau"
            else ReduceLROnPlateau(
                self.optimizer, mode="max", factor=params.plateau_factor, patience=params.plateau_patience
            )
        )
        self.epochly = None if stepping else by_epochs(self.optimizer, params)
        self.order = torch.Generator().manual_seed(seed)
        self.progress = TrainingHistory()

    def scale_gradients(self, factor: float) -> None:
        """Multiply the summed gradients by a factor, so that a step over fewer batches also uses their mean."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def step(self) -> None:
        """Update the weights with the gradients that were summed over the last batches, then clear the gradients."""
        if self.params.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.schedule is not None:
            self.schedule.step()

    def note(self, row: Row) -> None:
        """Record the scores of a finished epoch.

        This updates the learning rate, the best epoch with its weights, and whether the run has ended.
        """
        past = self.progress
        past.history.append({"epoch": len(past.history) + 1, **row})
        if self.plateau is not None:
            self.plateau.step(row[self.score])
        if self.epochly is not None:
            self.epochly.step()
        if row[self.score] > past.best_score:
            past.best_epoch, past.best_score = len(past.history), row[self.score]
            past.best = self._weights()
        waited = len(past.history) - past.best_epoch
        past.finished = waited >= self.params.patience or len(past.history) >= self.params.epochs
        if past.finished:
            past.last = self._weights()

    def report(self) -> EpochReport:
        """Collect what the progress display shows about the last finished epoch."""
        past = self.progress
        return EpochReport(
            past.history[-1],
            self.params.epochs,
            past.best_epoch,
            past.best_score,
            self.score,
            past.finished,
        )

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def _schedulers(self) -> list[LRScheduler]:
        every = (self.plateau, self.schedule, self.epochly)
        return [scheduler for scheduler in every if scheduler is not None]

    def save(self, path: Path) -> None:
        """Write weights, optimizer, schedules and random states to a file, so that a killed run can resume.

        The file appears complete or not at all.
        """
        held: dict[str, Any] = {"progress": vars(self.progress)}
        if not self.progress.finished:
            held |= {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedulers": [scheduler.state_dict() for scheduler in self._schedulers()],
                "order": self.order.get_state(),
                "random": random_states(),
            }
        with atomic_file(path) as temporary:
            torch.save(held, temporary)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote: weights, optimizer, schedules and random states.

        Raises:
            WorkError: the file is damaged.
        """
        try:
            held: dict[str, Any] = torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            hint = "remove the file; the training then starts again from the first epoch"
            raise WorkError(
                f"{path}: this saved state of a killed training run is damaged ({reason})", hint=hint
            ) from error
        self.progress = TrainingHistory(**held["progress"])
        if not self.progress.finished:
            self.model.load_state_dict(held["model"])
            self.optimizer.load_state_dict(held["optimizer"])
            for scheduler, state in zip(self._schedulers(), held["schedulers"], strict=True):
                scheduler.load_state_dict(state)
            self.order.set_state(held["order"])
            set_random_states(held["random"])
