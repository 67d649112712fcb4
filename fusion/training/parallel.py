"""Several seeds at once, as processes on CPU: the same bits as one after the other."""

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
from ercache.training.loop import Epoch, Progress
from fusion.experiment.resolve import Experiment
from fusion.training.seed import Material, Tick, Trained, build_model, train_seed

WORTH = 2_000_000  # utterances to be seen in all: below it, starting a process takes longer than it saves
WEIGHTS = ("best", "last")  # of a Progress
PAUSE = 0.2  # seconds between two looks at the helpers


@dataclass(frozen=True)
class Job:
    """What the seeds of an experiment are trained from; `state` is the folder of their checkpoints."""

    experiment: Experiment
    material: Material
    classes: int
    seeds: Sequence[int]
    state: Path

    def train(self, seed: int, progress: Tick | None) -> Trained:
        """One seed, here."""
        checkpoint = self.state / f"seed{seed}.pt"
        return train_seed(self.experiment, self.material, self.classes, seed, checkpoint, progress)

    def model(self) -> nn.Module:
        """A model of the experiment, on the device of its material."""
        return build_model(self.experiment, self.material, self.classes)


def processes_for(job: Job) -> int:
    """How many processes are worth it: as many as have a core for each of their threads."""
    training = job.experiment.training
    work = len(job.seeds) * training.epochs * len(job.material.train.utterances)
    if job.material.train.labels.device.type != "cpu" or work < WORTH:
        return 1
    with torch.device("meta"):
        threads = threads_for(
            job.experiment.model.build(job.material.train.widths, job.classes, job.experiment.config)
        )
    return max(1, min(len(job.seeds), cores() // threads))


def train_seeds(job: Job, processes: int, progress: Tick | None = None) -> list[Trained]:
    """All seeds, in order.

    This process trains too; every process takes the next seed that nobody has. The number of threads of a training
    depends on its model alone, so results do not depend on the number of processes.

    Args:
        progress: told of every seed, by this process.

    Raises:
        WorkError: a training failed, or a process died.
    """
    if processes == 1:
        return [job.train(seed, progress) for seed in job.seeds]
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in any state
    taken, told = context.Value("i", 0), context.Queue()
    helpers = [
        context.Process(target=_help, args=(job, taken, told), daemon=True) for _ in range(processes - 1)
    ]
    found: dict[int, Trained] = {}

    def listen(block: float = 0.0) -> None:
        """Take in what the helpers have told."""
        while True:
            try:
                kind, what = told.get(block > 0, block or None)
            except queue.Empty:
                return
            block = 0.0
            if kind == "failed":
                raise what
            if kind == "tick" and progress is not None:
                progress(*what)
            if kind == "done":
                seed, past = what
                found[seed] = _revived(job, seed, past)

    def tick(what: str, epoch: Epoch) -> None:
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
            listen(PAUSE)  # also after the last one has ended: its words may still be on their way
            if not alive and len(found) < len(job.seeds):
                raise WorkError("a training process died", hint="run it again: it goes on where it was")
    finally:
        for helper in helpers:
            helper.terminate()
            helper.join()
    return [found[seed] for seed in job.seeds]


def _next(job: Job, taken: Any) -> int | None:
    """A seed that nobody trains yet."""
    with taken.get_lock():
        rank = taken.value
        taken.value = rank + 1
    return job.seeds[rank] if rank < len(job.seeds) else None


def _help(job: Job, taken: Any, told: Any) -> None:
    """What a helper does."""
    end_with_parent()  # two trainings must never write the same state
    tell: Callable[[tuple[str, Any]], None] = told.put
    try:
        while (seed := _next(job, taken)) is not None:
            trained = job.train(seed, lambda *what: tell(("tick", what)))
            past = vars(trained.progress)
            # As arrays: a tensor would be shared memory of a process that may have ended by then.
            weights = {kind: {name: value.numpy() for name, value in past[kind].items()} for kind in WEIGHTS}
            tell(("done", (seed, {**past, **weights})))
    except Exception as error:
        tell(("failed", error))


def _revived(job: Job, seed: int, past: dict[str, Any]) -> Trained:
    """A seed that a helper has trained."""
    weights = {
        kind: {name: torch.from_numpy(value) for name, value in past[kind].items()} for kind in WEIGHTS
    }
    model = job.model()
    model.load_state_dict(weights["best"])
    return Trained(seed, model.eval(), Progress(**{**past, **weights}))
