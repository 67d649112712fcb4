"""The stages of a training: one training after the other, each with its context window and perhaps a pool."""

from dataclasses import dataclass

from ercache.params.schema import TrainingParams
from fusion.data.windows import ContextWindow


@dataclass(frozen=True)
class Pool:
    """Utterances that are trained on only if they are hard (see `fusion.training.hard_examples`).

    Attributes:
        share: share of train's labelled dialogues that go into the pool. None: the pool is the validation data.
    """

    share: float | None


@dataclass(frozen=True)
class Stage:
    """One stage: a training from its first epoch to its end. The next stage starts from its best epoch.

    Attributes:
        training: params of the stage.
        window: context window of its batches.
        pool: the pool of hard examples, if the stage has one. The model must then have the hook `flips`.
    """

    training: TrainingParams
    window: ContextWindow
    pool: Pool | None = None
