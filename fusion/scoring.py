"""Predictions of a trained model, and the scores of all seeds together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ercache import metrics
from ercache.training import IGNORED, masked_cross_entropy
from fusion.batches import Padded, Subset
from fusion.runs import Predictions, inside_rows

Ints = NDArray[np.int64]


@torch.no_grad()
def logits_of(model: nn.Module, padded: Padded) -> Tensor:
    """Logits of every utterance of a subset's dialogues, [N, C]; nan where the view speaks of none."""
    model.eval()
    found: Tensor | None = None
    for rows, speaks, batch in padded.by_length():
        logits = model(batch)
        if found is None:
            found = logits.new_full((len(padded.subset.utterances), logits.shape[-1]), torch.nan)
        found[rows[speaks]] = logits[speaks]
    assert found is not None  # an empty subset was refused when the experiment was read
    return found


def predict(model: nn.Module, padded: Padded, seed: int) -> Predictions:
    """Probabilities and labels of the utterances of a subset."""
    subset = padded.subset
    probabilities = logits_of(model, padded).softmax(-1)
    return Predictions(
        seed,
        subset,
        inside_rows(subset, probabilities).astype(np.float32),
        inside_rows(subset, subset.labels).astype(np.int64),
    )


def validation_scores(model: nn.Module, padded: Padded, classes: int) -> dict[str, float]:
    """Loss, weighted F1 and accuracy on validation, by the names of curves.csv."""
    logits, labels = logits_of(model, padded), padded.subset.labels
    loss, _ = masked_cross_entropy(logits[None], labels[None])
    known = labels != IGNORED
    found = metrics.scores(labels[known].cpu().numpy(), logits[known].argmax(-1).cpu().numpy(), classes)
    return {
        "validation_loss": float(loss),
        "validation_weighted_f1": found["weighted_f1"],
        "validation_accuracy": found["accuracy"],
    }


def confusions(predictions: Sequence[Predictions], classes: int) -> Ints:
    """Counts of each seed and dialogue with a label, [S, D, C, C]."""
    return np.stack([_confusions(p, classes) for p in predictions])


def _confusions(predictions: Predictions, classes: int) -> Ints:
    known = predictions.truth != IGNORED
    dialogue = np.unique(dialogue_ranks(predictions.subset)[known], return_inverse=True)[1]
    return metrics.dialogue_confusions(
        predictions.truth[known], predictions.predicted[known], dialogue, classes
    )


def dialogue_ranks(subset: Subset) -> Ints:
    """Rank of the dialogue of each utterance that belongs to the subset, [N]."""
    ranks = torch.repeat_interleave(subset.lengths)
    return inside_rows(subset, ranks).astype(np.int64)


def per_class(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1, precision, recall (means over seeds) and support of each class."""
    tables = [
        metrics.per_class(p.truth[p.truth != IGNORED], p.predicted[p.truth != IGNORED], classes)
        for p in predictions
    ]
    return {
        name: {
            key: tables[0][name][key] if key == "support" else float(np.mean([t[name][key] for t in tables]))
            for key in tables[0][name]
        }
        for name in classes
    }


def scored(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, Any]:
    """Scores, per class and confusion (summed over seeds) of one subset."""
    counts = confusions(predictions, len(classes))
    return {
        "scores": metrics.summary(counts),
        "per_class": per_class(predictions, classes),
        "confusion": counts.sum((0, 1)).tolist(),
    }
