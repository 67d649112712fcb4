"""How a model is trained: in stages, one training after the other, of which one may have a pool."""

from dataclasses import dataclass

from ercache.params.schema import TrainingParams
from fusion.data.windows import View


@dataclass(frozen=True)
class Pool:
    """Utterances that are trained on only where they tell something (see `fusion.training.hard_examples`).

    Attributes:
        share: of the labelled dialogues of train, which are otherwise left out; None: the pool is validation.
    """

    share: float | None


@dataclass(frozen=True)
class Stage:
    """A training from its first epoch to its end; its best epoch is where the next stage begins.

    Attributes:
        view: what its batches are made of.
        pool: of a model that says which utterances flip; None where none could.
    """

    training: TrainingParams
    view: View
    pool: Pool | None = None
