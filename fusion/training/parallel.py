"""Trains the models of several seeds in parallel processes on the CPU, with the same results as one after the other."""

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ercache.cpus import cores
from ercache.errors import WorkError
from ercache.processes import end_with_parent
from ercache.training.determinism import threads_for
from ercache.training.loop import EpochReport, TrainingHistory
from fusion.experiment.resolve import Experiment
from fusion.training.seed import Datasets, EpochCallback, TrainedSeed, build_model, train_seed

MIN_WORK = 2_000_000  # utterances x epochs x seeds: for less, starting a process takes longer than it saves
WEIGHTS = ("best", "last")  # fields of `TrainingHistory` that hold tensors
POLL_SECONDS = 0.2  # between two looks at the helper processes


@dataclass(frozen=True)
class SeedJob:
    """Everything that a process needs to train the model of an experiment with several seeds.

    Attributes:
        experiment: the experiment.
        datasets: training and validation data.
        classes: number of classes.
        seeds: the seeds; one model is trained with each.
        state: folder for checkpoints of seeds whose training is not finished.
    """

    experiment: Experiment
    datasets: Datasets
    classes: int
    seeds: Sequence[int]
    state: Path

    def train(self, seed: int, progress: EpochCallback | None) -> TrainedSeed:
        """Train the model with one seed in this process; unfinished training continues from its checkpoint."""
        checkpoint = self.state / f"seed{seed}.pt"
        return train_seed(self.experiment, self.datasets, self.classes, seed, checkpoint, progress)

    def model(self) -> nn.Module:
        """Build an untrained model of the experiment, on the device that holds the data."""
        return build_model(self.experiment, self.datasets, self.classes)


def processes_for(job: SeedJob) -> int:
    """Return the number of processes with which to train: 1 on a GPU or for little work, else as many as cores allow.

    A process needs one core for each of its threads; more processes than seeds are of no use.
    """
    training = job.experiment.training
    work = len(job.seeds) * training.epochs * len(job.datasets.train.utterances)
    if job.datasets.train.labels.device.type != "cpu" or work < MIN_WORK:
        return 1
    with torch.device("meta"):
        threads = threads_for(
            job.experiment.model.build(job.datasets.train.widths, job.classes, job.experiment.config)
        )
    return max(1, min(len(job.seeds), cores() // threads))


def train_seeds(job: SeedJob, processes: int, progress: EpochCallback | None = None) -> list[TrainedSeed]:
    """Train all seeds of a job, in this process and in helper processes.

    Each process takes the next free seed. The number of threads depends only on the model, so the results do not
    depend on the number of processes.

    Args:
        job: the experiment, the data and the seeds.
        processes: number of processes, this one included.
        progress: called in this process after every epoch of every seed.

    Returns:
        The trained seeds, in the order of `job.seeds`.

    Raises:
        WorkError: training a seed failed, or a helper process died.
    """
    if processes == 1:
        return [job.train(seed, progress) for seed in job.seeds]
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in any state
    taken, messages = context.Value("i", 0), context.Queue()
    helpers = [
        context.Process(target=_help, args=(job, taken, messages), daemon=True) for _ in range(processes - 1)
    ]
    found: dict[int, TrainedSeed] = {}

    def listen(block: float = 0.0) -> None:
        """Handle all waiting messages of helper processes: ended epochs, trained seeds, errors.

        Wait at most `block` seconds for the first message.
        """
        while True:
            try:
                kind, content = messages.get(block > 0, block or None)
            except queue.Empty:
                return
            block = 0.0
            if kind == "failed":
                raise content
            if kind == "tick" and progress is not None:
                progress(*content)
            if kind == "done":
                seed, past = content
                found[seed] = _from_message(job, seed, past)

    def tick(what: str, epoch: EpochReport) -> None:
        listen()
        if progress is not None:
            progress(what, epoch)

    try:
        for helper in helpers:
            helper.start()
        while (seed := _next(job, taken)) is not None:
            found[seed] = job.train(seed, tick)
        while len(found) < len(job.seeds):
            alive = any(helper.is_alive() for helper in helpers)
            listen(POLL_SECONDS)  # also after the last helper has ended: its message may still be on the way
            if not alive and len(found) < len(job.seeds):
                raise WorkError(
                    "a helper process died while training a seed",
                    hint="run the command again: training continues where it stopped",
                )
    finally:
        for helper in helpers:
            helper.terminate()
            helper.join()
    return [found[seed] for seed in job.seeds]


def _next(job: SeedJob, taken: Any) -> int | None:
    """Take the next seed that no process has taken yet; None if all seeds are taken."""
    with taken.get_lock():
        rank = taken.value
        taken.value = rank + 1
    return job.seeds[rank] if rank < len(job.seeds) else None


def _help(job: SeedJob, taken: Any, messages: Any) -> None:
    """Train seeds in a helper process, as long as there are seeds that no process has taken.

    Reports of epochs, trained seeds and errors are sent to the main process as messages.
    """
    end_with_parent()  # two trainings must never write the same state
    tell: Callable[[tuple[str, Any]], None] = messages.put
    try:
        while (seed := _next(job, taken)) is not None:
            trained = job.train(seed, lambda *what: tell(("tick", what)))
            past = vars(trained.progress)
            # Sent as arrays: a tensor would be memory shared with a process that may have ended by then.
            weights = {kind: {name: value.numpy() for name, value in past[kind].items()} for kind in WEIGHTS}
            tell(("done", (seed, {**past, **weights})))
    except Exception as error:
        tell(("failed", error))


def _from_message(job: SeedJob, seed: int, past: dict[str, Any]) -> TrainedSeed:
    """Rebuild the model and training history of one seed from the message of the helper process that trained it."""
    weights = {
        kind: {name: torch.from_numpy(value) for name, value in past[kind].items()} for kind in WEIGHTS
    }
    model = job.model()
    model.load_state_dict(weights["best"])
    return TrainedSeed(seed, model.eval(), TrainingHistory(**{**past, **weights}))
