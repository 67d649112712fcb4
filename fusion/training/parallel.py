"""Trains several seeds at once, in processes on the CPU. The results equal those of one seed after the other."""

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
    """All that is needed to train the seeds of an experiment.

    Attributes:
        experiment: the experiment.
        datasets: train and validation.
        classes: number of classes.
        seeds: the seeds to train.
        state: folder for the checkpoints of unfinished seeds.
    """

    experiment: Experiment
    datasets: Datasets
    classes: int
    seeds: Sequence[int]
    state: Path

    def train(self, seed: int, progress: EpochCallback | None) -> TrainedSeed:
        """Train one seed in this process."""
        checkpoint = self.state / f"seed{seed}.pt"
        return train_seed(self.experiment, self.datasets, self.classes, seed, checkpoint, progress)

    def model(self) -> nn.Module:
        """Build a model of the experiment, on the device of its data."""
        return build_model(self.experiment, self.datasets, self.classes)


def processes_for(job: SeedJob) -> int:
    """How many processes to train with: 1 for little work or on a GPU, else as many as the cores allow.

    Each process needs a core for each of its threads.
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
    """Train all seeds.

    This process trains too. Every process takes the next seed that no process has taken. The number of threads of a
    training depends only on its model, so the results do not depend on the number of processes.

    Args:
        job: what to train.
        processes: processes, this one included.
        progress: called for every epoch of every seed, always in this process.

    Returns:
        The trained seeds, in the order of `job.seeds`.

    Raises:
        WorkError: a training failed, or a process died.
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
        """Handle all messages of the helpers; wait at most `block` seconds for the first."""
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
                raise WorkError("a training process died", hint="run it again: it goes on where it was")
    finally:
        for helper in helpers:
            helper.terminate()
            helper.join()
    return [found[seed] for seed in job.seeds]


def _next(job: SeedJob, taken: Any) -> int | None:
    """The next seed that no process has taken; None if there is none."""
    with taken.get_lock():
        rank = taken.value
        taken.value = rank + 1
    return job.seeds[rank] if rank < len(job.seeds) else None


def _help(job: SeedJob, taken: Any, messages: Any) -> None:
    """Body of a helper process: train seeds until all are taken, and send epochs, results and failures."""
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
    """Rebuild a seed that a helper has trained."""
    weights = {
        kind: {name: torch.from_numpy(value) for name, value in past[kind].items()} for kind in WEIGHTS
    }
    model = job.model()
    model.load_state_dict(weights["best"])
    return TrainedSeed(seed, model.eval(), TrainingHistory(**{**past, **weights}))
