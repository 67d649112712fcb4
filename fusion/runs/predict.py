"""Predictions of a trained model, and the scores of all seeds together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ercache import metrics
from ercache.manifest import PRESENCE
from ercache.training import METRIC, SCORE
from ercache.training.losses import IGNORED, masked_cross_entropy
from fusion.data.batches import PaddedBatches, Subset
from fusion.layers.losses import masked_binary_cross_entropy
from fusion.runs.predictions import Predictions
from fusion.runs.schema import ClassScore, Score, Scores

Ints = NDArray[np.int64]


@torch.no_grad()
def logits_of(model: nn.Module, padded: PaddedBatches) -> Tensor:
    """Logits of every utterance of a subset, [N, C]; nan for an utterance that is no target.

    Utterances are those of all dialogues of the subset, context included.
    """
    model.eval()
    found: Tensor | None = None
    for rows, has_target, batch in padded.by_length():
        logits = model(batch)
        if found is None:
            found = logits.new_full((len(padded.subset.utterances), logits.shape[-1]), torch.nan)
        found[rows[has_target]] = logits[has_target]
    assert found is not None  # reading the experiment refuses an empty subset
    return found


def predict(model: nn.Module, padded: PaddedBatches, seed: int) -> Predictions:
    """Predict the utterances of a subset with the model of one seed."""
    subset = padded.subset
    logits = logits_of(model, padded)
    probabilities = logits.sigmoid() if subset.labels.dim() == 2 else logits.softmax(-1)
    inside = subset.in_subset.tolist()
    return Predictions(
        seed,
        subset.name,
        tuple(u for u, belongs in zip(subset.utterances, inside, strict=True) if belongs),
        rows_in_subset(subset, probabilities).astype(np.float32),
        rows_in_subset(subset, subset.labels).astype(np.int64),
    )


def validation_scores(model: nn.Module, padded: PaddedBatches, classes: int) -> dict[str, float]:
    """Loss, weighted F1 and accuracy on validation, by the column names of curves.csv."""
    logits, labels = logits_of(model, padded), padded.subset.labels
    truth = labels.cpu().numpy().astype(np.int64)
    if labels.dim() == 2:
        loss, _ = masked_binary_cross_entropy(logits, labels)
        predicted = (logits > 0).long().cpu().numpy()
    else:
        loss, _ = masked_cross_entropy(logits[None], labels[None])
        predicted = logits.argmax(-1).cpu().numpy()
    found = metrics.mean_scores(counts_of(truth, predicted, np.zeros(len(truth), np.int64), classes)[0], 0)
    return {
        "validation_loss": float(loss),
        SCORE: float(found[METRIC]),
        "validation_accuracy": float(found["accuracy"]),
    }


def confusions(predictions: Sequence[Predictions], classes: int) -> Ints:
    """Confusion counts of each seed and each dialogue with a label.

    Returns:
        [S, D, C, C], rows true, for S seeds and D dialogues. A multi-label task has [S, D, C, 2, 2].
    """
    return np.stack([counts_of(p.truth, p.predicted, dialogue_ranks(p), classes) for p in predictions])


def counts_of(truth: Ints, predicted: Ints, dialogue: Ints, classes: int) -> Ints:
    """Confusion counts of each dialogue with a label, [D, C, C], or [D, C, 2, 2] in a multi-label task.

    Args:
        truth, predicted: [N], class numbers (truth -100 if unknown), or [N, C] of 1, 0 and -100.
        dialogue: [N], the number of each utterance's dialogue.
        classes: C.
    """
    known = (truth != IGNORED).reshape(len(truth), -1)
    some = known.any(1)
    dialogue = np.unique(dialogue[some], return_inverse=True)[1]
    if truth.ndim == 1:
        return metrics.dialogue_confusions(truth[some], predicted[some], dialogue, classes)
    counts = np.zeros((int(dialogue.max()) + 1, classes, 2, 2), dtype=np.int64)
    row, label = known[some].nonzero()
    np.add.at(counts, (dialogue[row], label, truth[some][row, label], predicted[some][row, label]), 1)
    return counts


def dialogue_ranks(predictions: Predictions) -> Ints:
    """Number of each utterance's dialogue, [N], counted in order of appearance."""
    rank: dict[tuple[str, str], int] = {}
    return np.array([rank.setdefault((u.part, u.dialogue), len(rank)) for u in predictions.utterances])


def per_class(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Class -> its F1, precision and recall (means over seeds) and its support."""
    tables = [(_per_emotion if p.several else _per_class)(p, classes) for p in predictions]
    return {
        name: {
            key: tables[0][name][key] if key == "support" else float(np.mean([t[name][key] for t in tables]))
            for key in tables[0][name]
        }
        for name in classes
    }


def _per_class(p: Predictions, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    known = p.truth != IGNORED
    return metrics.per_class(p.truth[known], p.predicted[known], classes)


def _per_emotion(p: Predictions, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Emotion -> F1, precision, recall and support of its presence, and its weighted F1 and weighted accuracy."""
    found = {}
    for c, name in enumerate(classes):
        known = p.truth[:, c] != IGNORED
        truth, predicted = p.truth[known, c], p.predicted[known, c]
        whole = metrics.scores(truth, predicted, 2)
        beside = {"weighted_f1": whole["weighted_f1"], "weighted_accuracy": whole["uar"]}
        found[name] = {**metrics.per_class(truth, predicted, PRESENCE)["present"], **beside}
    return found


@dataclass(frozen=True)
class SubsetScores:
    """Scores of all seeds on one subset.

    Attributes:
        scores: metric -> mean, deviation and confidence interval.
        per_class: class -> its scores.
        confusion: summed over seeds and dialogues, [C, C] or [C, 2, 2].
    """

    scores: Scores
    per_class: dict[str, ClassScore]
    confusion: list[Any]


def score_subset(predictions: Sequence[Predictions], classes: Sequence[str]) -> SubsetScores:
    """Compute the scores of all seeds on one subset."""
    counts = confusions(predictions, len(classes))
    found = metrics.summary(counts)
    if not predictions[0].several:
        found |= _of_probabilities(predictions)
    return SubsetScores(
        {name: Score(**values) for name, values in found.items()},
        {name: ClassScore.model_validate(values) for name, values in per_class(predictions, classes).items()},
        counts.sum((0, 1)).tolist(),
    )


def rows_in_subset(subset: Subset, values: Tensor) -> NDArray[Any]:
    """The rows of [N, ...] that belong to the subset, as an array."""
    picked: NDArray[Any] = values[subset.in_subset.to(values.device)].cpu().numpy()
    return picked


def _of_probabilities(predictions: Sequence[Predictions]) -> dict[str, dict[str, Any]]:
    """The metrics that need probabilities, over the labelled utterances."""
    first = predictions[0]
    known = first.truth != IGNORED
    dialogue = np.unique(dialogue_ranks(first)[known], return_inverse=True)[1]
    chances = [p.probabilities[known].astype(np.float64) for p in predictions]
    return metrics.probability_summary(first.truth[known], chances, dialogue)
