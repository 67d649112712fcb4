"""Finds dialogues that are too long for models whose memory grows with the square of the dialogue's length."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ercache.manifest import Utterance
from ercache.params.schema import ExperimentParams
from fusion.data.windows import context_window_of
from fusion.models import MODELS

# Bytes for one dialogue in training. A film of 3,000 utterances would take 3 to 7 GB in a model that relates all pairs.
MEMORY: Final = 2_000_000_000
SHOWN: Final = 3  # dialogues that the message names


def too_long(entry: ExperimentParams, dialogues: Iterable[Sequence[Utterance]]) -> list[str]:
    """Find dialogues that are too long for the experiment's model to train on.

    Args:
        entry: the experiment.
        dialogues: the complete dialogues that the model will see.

    Returns:
        A list with one sentence, which names the dialogues and says what to do; empty if all dialogues fit.
    """
    model = MODELS[entry.model]
    if model.pair_bytes is None:
        return []
    each = model.pair_bytes(model.resolve(entry.preset, entry.config), len(entry.features))
    most = math.isqrt(int(MEMORY / max(each, 1)))
    history = context_window_of(entry).history
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
