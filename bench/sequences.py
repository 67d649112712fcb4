"""Benchmark of training on token sequences, with and without length buckets (fusion/layers/length_buckets.py).

A length bucket is a group of utterances with similar numbers of tokens, which are padded together. The reference is
the same model on the same batches without buckets: every utterance is padded to the longest utterance of the batch.
The dialogues are those of bench/fusion.py. Numbers of tokens are distributed as in MELD's training set; the vectors of
tokens have the size of `text/minilm`. Models have the preset `small`; a batch has 32 dialogues. Times are seconds of
one training epoch without validation (median of several epochs).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from bench.fusion import BATCH, CLASSES, ROUNDS, WARM_UP, epoch, meld_shaped
from ercache.errors import WorkError
from ercache.training.determinism import deterministic, threads_for
from fusion.data.batches import PaddedBatches, Subset
from fusion.data.ragged import Ragged
from fusion.layers import length_buckets
from fusion.models import MODELS

MODELS_OF_WORDS: Final = ("cues", "amuse")
WIDTH: Final = 384
# Utterances of MELD's train part with 1, 2, .. 49 tokens, and those with 50 to 93.
STEPS: Final = (
    *(40, 938, 499, 521, 577, 561, 582, 597, 504, 523, 409, 447, 355, 330, 306, 277, 284),
    *(240, 218, 191, 201, 174, 158, 132, 133, 113, 102, 105, 83, 75, 59, 57, 42, 21, 15, 27),
    *(19, 10, 10, 7, 8, 3, 4, 3, 3, 6, 2, 3, 4, 11),
)


def measure(_folder: Path, models: Iterable[str] = MODELS_OF_WORDS, scale: float = 1.0) -> dict[str, Any]:
    """Measure the seconds of a training epoch for each model, with and without length buckets, and the speed-up.

    Args:
        models: keys of the models.
        scale: number of dialogues, as a fraction of MELD's train dialogues; below 1 in tests.
    """
    subset = of_words(scale)
    return {key: _measured(key, subset) for key in models}


def _measured(key: str, subset: Subset) -> dict[str, Any]:
    entry = MODELS[key]
    torch.manual_seed(0)
    model = entry.build(subset.widths, CLASSES, entry.resolve("small", {}))
    with deterministic(threads_for(model)):
        padded = PaddedBatches(subset)
        difference = largest_difference(model, padded)
        if difference > 1e-5:
            raise WorkError(
                f"model {key}: logits with and without length buckets differ by {difference}; correct fusion/layers/"
                "length_buckets.py or the model"
            )
        ours, theirs = zip(*(_both(model, padded) for _ in range(ROUNDS)), strict=True)
    seconds, reference = (sorted(found)[ROUNDS // 2] for found in (ours, theirs))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds_per_epoch": round(seconds, 3),
        "reference_seconds_per_epoch": round(reference, 3),
        "largest_difference": float(f"{difference:.1e}"),
        "speedup_over_reference": round(reference / seconds, 2),
    }


def _both(model: nn.Module, padded: PaddedBatches) -> tuple[float, float]:
    def spent() -> float:
        order = torch.Generator().manual_seed(0)
        epoch(model, model, islice(padded.shuffled(BATCH, order), WARM_UP), fused=True)
        return sum(epoch(model, model, padded.shuffled(BATCH, order), fused=True).values())

    ours = spent()
    with all_at_once():
        return ours, spent()


@torch.no_grad()
def largest_difference(model: nn.Module, padded: PaddedBatches) -> float:
    """Return the largest difference between logits with and without length buckets, in eval mode, on three batches."""
    model.eval()
    worst = 0.0
    for batch in islice(padded.shuffled(BATCH, torch.Generator().manual_seed(1)), 3):
        ours = model(batch)
        with all_at_once():
            worst = max(worst, float((ours - model(batch))[batch.mask].abs().max()))
    return worst


@contextmanager
def all_at_once() -> Iterator[None]:
    """Inside a `with` block, run all utterances of a batch together, without length buckets."""
    least = length_buckets.MIN_BUCKET
    length_buckets.MIN_BUCKET = 1 << 30
    try:
        yield
    finally:
        length_buckets.MIN_BUCKET = least


def of_words(scale: float = 1.0, seed: int = 0) -> Subset:
    """Make a subset of dialogues like those of MELD, with a random sequence of word vectors for every utterance."""
    subset = meld_shaped({"text": 1}, scale, seed)
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.multinomial(
        torch.tensor(STEPS, dtype=torch.float), len(subset.labels), replacement=True, generator=draw
    )
    lengths = lengths + 1
    words = Ragged(
        "text", torch.randn(int(lengths.sum()), WIDTH, generator=draw), lengths.cumsum(0) - lengths, lengths
    )
    return replace(
        subset, features={}, present={"text": torch.ones_like(subset.in_subset)}, sequences={"text": words}
    )
