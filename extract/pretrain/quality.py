"""Measure how good the embeddings of a trained extractor are: whether they separate classes, or have become equal."""

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
    """The embeddings of N examples with d values each (`values`, [N, d]) and their class indices (`labels`, [N])."""

    values: Floats
    labels: Ints


def quality(train: EmbeddingSet, held_out: EmbeddingSet, classes: int) -> dict[str, float]:
    """Measure how well embeddings separate the classes; `train` serves to fit classifiers, `held_out` to measure.

    Returns:
        Dict from measure to value: `knn_accuracy` (accuracy of 5 nearest neighbours), `probe_*` (weighted F1, macro F1,
        accuracy and UAR of a linear classifier), `silhouette` (separation of the classes, -1 to 1), and the four
        measures of `collapse`.
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
    """Return the accuracy of predicting held-out classes from the 5 nearest training examples (by cosine)."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(NEIGHBOURS, len(train.labels)), algorithm="brute")
    model.fit(unit_vectors(train.values), train.labels)
    return float(np.mean(model.predict(unit_vectors(held_out.values)) == held_out.labels))


def probe(train: EmbeddingSet, values: Floats) -> Ints:
    """Train a linear classifier (logistic regression) on embeddings, and predict the classes of N others, [N].

    Args:
        train: embeddings and labels for training.
        values: the N embeddings to classify, d values each, [N, d].
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(train.values.astype(np.float64), train.labels)
    return np.asarray(model.predict(values.astype(np.float64)), np.int64)


def collapse(values: Floats) -> dict[str, float]:
    """Measure whether N embeddings with d values each, [N, d], have collapsed (become nearly equal).

    Returns:
        Dict with four values: `deviation` (mean standard deviation of a dimension), `dead` (fraction of dimensions that
        hardly vary), `rank` (effective number of dimensions) and `similarity` (mean cosine of two embeddings).
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
    """Return the effective number of dimensions of N embeddings with d values each, [N, d] (Roy and Vetterli, 2007).

    It is k if the embeddings vary equally in k directions, and not at all in the others. The formula is exp(entropy) of
    the singular values, which are scaled to sum 1 before.
    """
    singular = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    if singular.sum() <= 1e-12:
        return 0.0
    share = singular / singular.sum()
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def verification_auc(held_out: EmbeddingSet, seed: int = 0) -> float:
    """Return how well the cosine of two embeddings tells whether both images show the same person, as ROC AUC.

    All pairs of the held-out images are compared, or 200,000 random ones if there are more.
    """
    from sklearn.metrics import roc_auc_score

    first, second = np.triu_indices(len(held_out.labels), k=1)
    if len(first) > MAX_PAIRS:
        chosen = np.random.default_rng(seed).choice(len(first), MAX_PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    directions = unit_vectors(held_out.values)
    similar = (directions[first] * directions[second]).sum(axis=1)
    return float(roc_auc_score(held_out.labels[first] == held_out.labels[second], similar))


def unit_vectors(values: Floats) -> Floats:
    """Scale each of N vectors with d values, [N, d], to Euclidean length 1; a zero vector stays zero."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12), np.float32)
