"""Benchmark of training on cached features: an epoch with ercache, compared with usual research code (bench/peers.py).

Both train the same network from the same weights. The data are random features in dialogues like those of MELD's
training set: 1038 dialogues, 9989 utterances, the same distribution of lengths and speakers. A batch has 32 dialogues;
the optimizer is AdamW with gradient clipping. Times are seconds of one training epoch without validation, after a
warm-up: the median of several epochs for ercache, one epoch for the reference.
"""

import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from bench import peers
from ercache.errors import WorkError
from ercache.manifest import Utterance
from ercache.training.determinism import deterministic, threads_for
from ercache.training.losses import masked_cross_entropy
from fusion.data.batches import Batch, PaddedBatches, Subset
from fusion.models import MODELS

BATCH: Final = 32
ROUNDS: Final = 3
WARM_UP: Final = 2  # batches
CLASSES: Final = 7
# MELD's train part: dialogues of 1, 2, .. 24 utterances, and dialogues of 1, 2, .. 9 speakers.
LENGTHS: Final = (
    *(70, 60, 54, 48, 67, 61, 74, 67, 50, 57, 55, 54),
    *(36, 41, 43, 51, 30, 28, 27, 20, 20, 13, 7, 5),
)
SPEAKERS: Final = (96, 463, 264, 122, 58, 25, 8, 1, 1)
DEFAULT_WIDTHS: Final = {"text": 384, "audio": 64, "visual": 128}
# Widths of the features and preset of every model.
SIZES: Final[dict[str, tuple[dict[str, int], str]]] = {
    "logistic": (DEFAULT_WIDTHS, "small"),
    "concat": (DEFAULT_WIDTHS, "small"),
    "bc_lstm": (DEFAULT_WIDTHS, "small"),
    "transformer": (DEFAULT_WIDTHS, "small"),
    "dialogue_rnn": (DEFAULT_WIDTHS, "meld"),
    "mmgcn": (DEFAULT_WIDTHS, "small"),
    "m2fnet": (DEFAULT_WIDTHS, "small"),
    "avafn": ({"audio": 64, "visual": 128}, "small"),
}


def measure(_folder: Path, models: Iterable[str] = tuple(SIZES), scale: float = 1.0) -> dict[str, Any]:
    """Measure the seconds of a training epoch for every model and its reference.

    The time is divided into making batches (`data`), `forward`, `backward`, and the optimizer's `step`.

    Args:
        models: keys of the models.
        scale: number of dialogues, as a fraction of MELD's train dialogues; below 1 in tests.

    Returns:
        Key of the model -> its figures.
    """
    found = {}
    for key in models:
        widths, preset = SIZES[key]
        found[key] = measure_model(key, preset, meld_shaped(widths, scale))
    return found


def measure_model(key: str, preset: str, subset: Subset) -> dict[str, Any]:
    """Measure the seconds of one epoch of a model, and of the same model written as usual in research (bench/peers.py).

    Both get as many threads as `ercache train` would use.

    Args:
        key: key of the model.
        preset: sizes of the model, such as `small`.
        subset: the training data.
    """
    entry = MODELS[key]
    torch.manual_seed(0)
    model = entry.build(subset.widths, CLASSES, entry.resolve(preset, {}))
    with deterministic(threads_for(model)):
        return {"preset": preset, **_measured(key, model, subset)}


def _measured(key: str, model: nn.Module, subset: Subset) -> dict[str, Any]:
    padded = PaddedBatches(subset)
    difference = largest_difference(model, peers.FORWARDS[key], padded)
    if difference > 1e-5:
        raise WorkError(
            f"model {key}: the logits of the reference (bench/peers.py) and of ercache differ by {difference}; correct "
            "the reference"
        )
    order = torch.Generator().manual_seed(0)

    def forward(batch: Batch) -> Tensor:
        return peers.FORWARDS[key](model, batch)

    start = {name: value.clone() for name, value in model.state_dict().items()}
    epoch(model, model, islice(padded.shuffled(BATCH, order), WARM_UP), fused=True)
    epoch(model, forward, islice(peers.loader(subset, BATCH), WARM_UP), fused=False)
    model.load_state_dict(start)
    ours = [epoch(model, model, padded.shuffled(BATCH, order), fused=True) for _ in range(ROUNDS)]
    model.load_state_dict(start)
    theirs = epoch(model, forward, peers.loader(subset, BATCH), fused=False)
    seconds = sorted(sum(parts.values()) for parts in ours)[ROUNDS // 2]
    shares = {name: float(np.mean([parts[name] for parts in ours])) for name in ours[0]}
    reference = sum(theirs.values())
    return {
        "widths": "+".join(map(str, subset.widths.values())),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds_per_epoch": round(seconds, 3),
        **{f"share_{name}": round(share / sum(shares.values()), 3) for name, share in shares.items()},
        "reference_seconds_per_epoch": round(reference, 3),
        **{f"reference_share_{name}": round(part / reference, 3) for name, part in theirs.items()},
        "largest_difference": float(f"{difference:.1e}"),
        "speedup_over_reference": round(reference / seconds, 2),
    }


@torch.no_grad()
def largest_difference(model: nn.Module, forward: peers.Forward, padded: PaddedBatches) -> float:
    """Return the largest difference between the logits of ercache and the reference, in eval mode, on three batches."""
    model.eval()
    worst = 0.0
    for batch in islice(padded.shuffled(BATCH, torch.Generator().manual_seed(1)), 3):
        worst = max(worst, float((model(batch) - forward(model, batch))[batch.mask].abs().max()))
    return worst


def epoch(
    model: nn.Module, forward: Callable[[Batch], Tensor], batches: Iterable[Batch], *, fused: bool
) -> dict[str, float]:
    """Train a model for one epoch, and measure the seconds of each step.

    Args:
        model: the model to train.
        forward: function that computes the logits of a batch with this model.
        batches: the batches of the epoch.
        fused: use the fused implementation of AdamW.

    Returns:
        Seconds spent on making batches (`data`), `forward`, `backward`, and the optimizer's `step`.
    """
    optimizer = AdamW(model.parameters(), 1e-4, fused=True) if fused else AdamW(model.parameters(), 1e-4)
    model.train()
    spent = dict.fromkeys(("data", "forward", "backward", "step"), 0.0)
    clock = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        spent[part] += now - clock
        clock = now

    for batch in batches:
        lap("data")
        loss, _ = masked_cross_entropy(forward(batch), batch.labels)
        lap("forward")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        lap("backward")
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        float(loss.detach())
        lap("step")
    return spent


def meld_shaped(widths: dict[str, int], scale: float = 1.0, seed: int = 0) -> Subset:
    """Make training data with random features and labels, in dialogues like those of MELD's training set.

    Args:
        widths: modality -> feature size.
        scale: number of dialogues, as a fraction of MELD's train dialogues.
        seed: seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    lengths, people = (
        rng.permutation(np.repeat(np.arange(1, len(counts) + 1), counts)) for counts in (LENGTHS, SPEAKERS)
    )
    picked = rng.permutation(len(people))[: round(scale * len(people))]
    lengths, people = lengths[picked], people[picked]
    n = int(lengths.sum())
    draw = torch.Generator().manual_seed(seed)
    present = {m: torch.rand(n, generator=draw) > 0.02 for m in widths}
    values = {m: torch.randn(n, w, generator=draw) * present[m][:, None] for m, w in widths.items()}
    labels = torch.randint(CLASSES, (n,), generator=draw)
    utterance = Utterance("u", "d", 0, "A", "", None, None, {}, "train")
    return Subset(
        name="train",
        utterances=(utterance,) * n,
        in_subset=torch.ones(n, dtype=torch.bool),
        offsets=torch.tensor([0, *np.cumsum(lengths)]),
        features=values,
        present=present,
        speakers=torch.from_numpy(rng.integers(np.repeat(people, lengths))),
        labels=labels,
        all_labels=labels,
    )
