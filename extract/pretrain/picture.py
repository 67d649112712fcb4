"""Plot the embeddings of a trained extractor in two dimensions, so that one sees whether it separates the classes."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from extract.pretrain.quality import EmbeddingSet, Floats, unit_vectors

MAX_POINTS: Final = 3000
MIN_POINTS_FOR_UMAP: Final = 10  # with fewer points, UMAP has no neighbourhoods
MAX_LEGEND_CLASSES: Final = 10  # with more classes, there is no legend


def draw(held_out: EmbeddingSet, classes: Sequence[str], path: Path) -> str:
    """Plot embeddings of validation examples in two dimensions, coloured by class, and save the plot.

    Returns:
        How the embeddings were projected: `umap` if UMAP is installed and there are at least 10 examples, else `pca`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chosen = np.linspace(0, len(held_out.labels) - 1, min(MAX_POINTS, len(held_out.labels))).astype(int)
    points, labels = unit_vectors(held_out.values[chosen]), held_out.labels[chosen]
    method = "umap" if importlib.util.find_spec("umap") and len(points) >= MIN_POINTS_FOR_UMAP else "pca"
    places = _umap(points) if method == "umap" else _pca(points)
    figure, axes = pyplot.subplots(figsize=(6, 5), layout="constrained")
    colours = matplotlib.colormaps["tab10"]
    for c in np.unique(labels):
        mine = places[labels == c]
        axes.scatter(mine[:, 0], mine[:, 1], s=14, color=colours(int(c) % 10), label=classes[int(c)])
    if len(np.unique(labels)) <= MAX_LEGEND_CLASSES:
        axes.legend(frameon=False)
    axes.set(xticks=[], yticks=[], title=f"Held-out embeddings ({method.upper()})")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return method


def _pca(points: Floats) -> Floats:
    from sklearn.decomposition import PCA

    wide = np.pad(points, ((0, max(0, 2 - len(points))), (0, 0)))
    return np.asarray(PCA(2, random_state=0).fit_transform(wide)[: len(points)], np.float32)


def _umap(points: Floats) -> Floats:
    import umap

    model: Any = umap.UMAP(n_neighbors=min(15, len(points) - 1), metric="cosine", random_state=0, n_jobs=1)
    return np.asarray(model.fit_transform(points), np.float32)
