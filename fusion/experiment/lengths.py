"""Dialogues that are too long for a model: what grows with the pairs of their utterances is bounded before any work."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ercache.manifest import Utterance
from ercache.params.schema import ExperimentParams
from fusion.data.windows import view_of
from fusion.models import MODELS

# Of one dialogue in training. A film of 3,000 utterances would take three to seven GB where all pairs are related.
MEMORY: Final = 2_000_000_000
SHOWN: Final = 3


def too_long(entry: ExperimentParams, dialogues: Iterable[Sequence[Utterance]]) -> list[str]:
    """The dialogues that an experiment cannot see at once, in words with the remedy; empty where all are short enough.

    Args:
        dialogues: of the subsets that are read, whole.
    """
    model = MODELS[entry.model]
    if model.pair_bytes is None:
        return []
    each = model.pair_bytes(model.resolve(entry.preset, entry.config), len(entry.features))
    most = math.isqrt(int(MEMORY / max(each, 1)))
    history = view_of(entry).history
    long = [
        f"dialogue {dialogue[0].dialogue!r} has {seen:,} utterances"
        for dialogue in dialogues
        if (seen := min(len(dialogue), history or len(dialogue))) > most
    ]
    if not long:
        return []
    more = f" (and {len(long) - SHOWN} more)" if len(long) > SHOWN else ""
    return [
        f"{', '.join(long[:SHOWN])}{more}, and {model.key} relates every pair of them: at most {most:,} fit into "
        f"{MEMORY / 1e9:.0f} GB; set `history: N` in the experiment (each utterance is then seen with those before it, "
        "N in all), or take a model that reads them one after the other (bc_lstm)"
    ]
