"""Measure the quality of embeddings: nearest neighbours, a linear probe, clusters, and signs of collapse."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ercache.metrics import scores

NEIGHBOURS: Final = 5
DEAD_DEVIATION: Final = 0.01  # a dimension with a smaller standard deviation carries no information
MAX_PAIRS: Final = 200_000  # largest number of pairs compared for the verification score

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddingSet:
    """The embeddings of N examples, d values each, [N, d], and their class indices, [N]."""

    values: Floats
    labels: Ints


def quality(train: EmbeddingSet, held_out: EmbeddingSet, classes: int) -> dict[str, float]:
    """Return all quality measures of embeddings.

    Returns:
        On held-out data: `knn_accuracy` (nearest neighbours), `probe_*` (weighted F1, macro F1, accuracy and UAR of a
        linear classifier), `silhouette` (separation of the classes, -1 to 1), and the measures of `collapse`.
    """
    from sklearn.metrics import silhouette_score

    probed = scores(held_out.labels, probe(train, held_out.values), classes)
    few = len(np.unique(held_out.labels)) < 2 or len(held_out.labels) <= len(np.unique(held_out.labels))
    return {
        "knn_accuracy": knn_accuracy(train, held_out),
        **{f"probe_{name}": value for name, value in probed.items()},
        "silhouette": 0.0 if few else float(silhouette_score(unit_vectors(held_out.values), held_out.labels)),
        **collapse(held_out.values),
    }


def knn_accuracy(train: EmbeddingSet, held_out: EmbeddingSet) -> float:
    """Return the accuracy of a 5-nearest-neighbour classifier (cosine distance) on held-out examples.

    The neighbours are training examples.
    """
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(NEIGHBOURS, len(train.labels)), algorithm="brute")
    model.fit(unit_vectors(train.values), train.labels)
    return float(np.mean(model.predict(unit_vectors(held_out.values)) == held_out.labels))


def probe(train: EmbeddingSet, values: Floats) -> Ints:
    """Train a logistic regression on the embeddings `train`; return its predicted class for each of N `values`, [N]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(train.values.astype(np.float64), train.labels)
    return np.asarray(model.predict(values.astype(np.float64)), np.int64)


def collapse(values: Floats) -> dict[str, float]:
    """Return four measures that show whether N embeddings [N, d] have collapsed (have become nearly equal).

    Returns:
        `deviation` (mean standard deviation of a dimension), `dead` (share of dimensions that hardly vary), `rank`
        (effective number of dimensions) and `similarity` (mean cosine of two embeddings).
    """
    deviation = values.std(axis=0)
    directions = unit_vectors(values)
    n = len(values)
    total = float(np.square(directions.sum(axis=0, dtype=np.float64)).sum())
    return {
        "deviation": float(deviation.mean()),
        "dead": float(np.mean(deviation < DEAD_DEVIATION)),
        "rank": effective_rank(values),
        "similarity": (total - n) / (n * (n - 1)) if n > 1 else 1.0,
    }


def effective_rank(values: Floats) -> float:
    """Return the effective number of dimensions: n if the data vary equally in n directions (Roy and Vetterli, 2007).

    It is exp of the entropy of the singular values, scaled to sum 1.
    """
    singular = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    if singular.sum() <= 1e-12:
        return 0.0
    share = singular / singular.sum()
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def verification_auc(held_out: EmbeddingSet, seed: int = 0) -> float:
    """Return the ROC AUC of telling, from the cosine of two embeddings, whether both images show the same person."""
    from sklearn.metrics import roc_auc_score

    first, second = np.triu_indices(len(held_out.labels), k=1)
    if len(first) > MAX_PAIRS:
        chosen = np.random.default_rng(seed).choice(len(first), MAX_PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    directions = unit_vectors(held_out.values)
    similar = (directions[first] * directions[second]).sum(axis=1)
    return float(roc_auc_score(held_out.labels[first] == held_out.labels[second], similar))


def unit_vectors(values: Floats) -> Floats:
    """Scale N vectors with d values each, [N, d], to length 1. A zero vector stays zero."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12), np.float32)
