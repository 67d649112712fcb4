"""Stages of a training run: a model may be trained in several stages, each with its own params and context window."""

from dataclasses import dataclass

from ercache.params.schema import TrainingParams
from fusion.data.windows import ContextWindow


@dataclass(frozen=True)
class Pool:
    """A pool of utterances: only its hard examples join the training data (see `fusion.training.hard_examples`).

    Attributes:
        share: fraction (0 to 1) of the labelled training dialogues that form the pool. None: the validation data form
            the pool, as in AMuSE's paper; because this trains on validation data, the result carries a note.
    """

    share: float | None


@dataclass(frozen=True)
class Stage:
    """One stage of a training run. The next stage starts from the model at this stage's best epoch.

    Attributes:
        training: training params of the stage (epochs, learning rate, ...).
        window: context window of the batches.
        pool: held-back utterances, of which only the hard examples join the training; None to hold back none. With a
            pool, the model must have the hook `flips`.
    """

    training: TrainingParams
    window: ContextWindow
    pool: Pool | None = None
