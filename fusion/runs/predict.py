"""Predicts subsets (train, dev, test) with trained models, and computes the scores over all seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ercache import metrics
from ercache.manifest import PRESENCE
from ercache.training.losses import IGNORED, masked_cross_entropy
from ercache.training.selection import METRIC, SCORE, score_of
from fusion.data.batches import PaddedBatches, Subset
from fusion.layers.label_losses import masked_binary_cross_entropy
from fusion.runs.predictions import Predictions
from fusion.runs.schema import ClassScore, Score, Scores

Ints = NDArray[np.int64]


@torch.no_grad()
def logits_of(model: nn.Module, padded: PaddedBatches) -> Tensor:
    """Compute the logits of all N utterances in the dialogues of a subset, context included: [N, C] for C classes.

    An utterance that the model does not predict (such as one without earlier context in EPC) gets nan.
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
    """Predict the class probabilities of a subset's utterances (not of context utterances) with one trained model.

    Args:
        model: the trained model of one seed.
        padded: the batches of the subset.
        seed: the seed of the model.
    """
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


def validation_scores(
    model: nn.Module, padded: PaddedBatches, classes: int, select: str = METRIC
) -> dict[str, float]:
    """Compute loss, weighted F1, accuracy and the metric `select` on the validation data.

    Returns:
        Column of curves.csv (such as `validation_loss`) -> value.
    """
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
        score_of("accuracy"): float(found["accuracy"]),
        score_of(select): float(found[select]),
    }


def confusions(predictions: Sequence[Predictions], classes: int) -> Ints:
    """Compute the confusion matrix of each seed on each dialogue that has a label.

    Returns:
        Counts [S, D, C, C] for S seeds, D dialogues and C classes; rows are true classes. In a multi-label task,
        [S, D, C, 2, 2].
    """
    return np.stack([counts_of(p.truth, p.predicted, dialogue_ranks(p), classes) for p in predictions])


def counts_of(truth: Ints, predicted: Ints, dialogue: Ints, classes: int) -> Ints:
    """Compute the confusion matrix of each of the D dialogues that have a label, [D, C, C].

    In a multi-label task, the result is [D, C, 2, 2].

    Args:
        truth: true class index of each of N utterances, [N], -100 if unknown; in a multi-label task [N, C] with 1
            (present), 0 (absent) and -100 (unknown).
        predicted: predicted classes, in the same form.
        dialogue: index of each utterance's dialogue, [N].
        classes: number C of classes.
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
    """Return for each of N utterances the index of its dialogue, [N]; dialogues are counted from 0 as they appear."""
    rank: dict[tuple[str, str], int] = {}
    return np.array([rank.setdefault((u.part, u.dialogue), len(rank)) for u in predictions.utterances])


def per_class(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compute the scores of each class: class -> F1, precision, recall (means over seeds), and support."""
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
    """Compute the multi-label scores of one seed: emotion -> scores.

    F1, precision, recall and support are those of the class `present`; weighted F1 and weighted accuracy are over
    `present` and `absent`.
    """
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
    """Scores of a run on one subset (train, dev or test), from the models of all seeds.

    Attributes:
        scores: metric -> mean, standard deviation and confidence interval over seeds.
        per_class: class -> scores of this class.
        confusion: confusion matrix, summed over seeds and dialogues, [C, C]; in a multi-label task [C, 2, 2].
    """

    scores: Scores
    per_class: dict[str, ClassScore]
    confusion: list[Any]


def score_subset(predictions: Sequence[Predictions], classes: Sequence[str]) -> SubsetScores:
    """Compute the scores of one subset from the predictions of all seeds."""
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
    """Keep the values of utterances that belong to the subset; drop those of context utterances.

    Args:
        subset: the subset; its dialogues have N utterances, context included.
        values: a value or vector for each of the N utterances, [N, ...].

    Returns:
        The kept rows of `values`, as a numpy array.
    """
    picked: NDArray[Any] = values[subset.in_subset.to(values.device)].cpu().numpy()
    return picked


def _of_probabilities(predictions: Sequence[Predictions]) -> dict[str, dict[str, Any]]:
    """Compute the metrics that need predicted class probabilities, such as an area under a curve, over all seeds.

    Only labelled utterances count.

    Returns:
        Metric -> fields of `Score` (mean, std, ...); empty if ercache has no such metric.
    """
    first = predictions[0]
    known = first.truth != IGNORED
    dialogue = np.unique(dialogue_ranks(first)[known], return_inverse=True)[1]
    chances = [p.probabilities[known].astype(np.float64) for p in predictions]
    return metrics.probability_summary(first.truth[known], chances, dialogue)
