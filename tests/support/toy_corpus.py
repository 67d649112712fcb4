"""A toy corpus: a manifest and caches. It is small and learnable, and some utterances lack a modality."""

from pathlib import Path
from typing import Any

import numpy as np

from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.manifest import Manifest, Utterance, write_manifest
from ercache.params.schema import Params

CLASSES = ("neutral", "joy", "anger")
WIDTHS = {"words": 6, "sound": 5, "face": 4}
MODALITY = {"words": "text", "sound": "audio", "face": "visual"}
FEATURES: dict[str, list[str]] = {"text": ["words"], "audio": ["sound"], "visual": ["face"]}


def toy_manifest(dialogues: int = 8) -> Manifest:
    """Make a manifest with train, dev and test. The fourth utterance of each dialogue has no label."""
    rng = np.random.default_rng(0)
    utterances = []
    for part, count in {"train": dialogues, "dev": 4, "test": 4}.items():
        for d in range(count):
            for i in range(3 + d % 4):
                label = None if i == 3 else CLASSES[int(rng.integers(3))]
                name = f"{part}_d{d}"
                labels = {"emotion7": label}
                speaker = "AB"[i % 2]
                utterances.append(
                    Utterance(f"{name}_u{i}", name, i, speaker, "text", None, None, labels, part)
                )
    split = {part: tuple(u.id for u in utterances if u.part == part) for part in ("train", "dev", "test")}
    return Manifest("toy", "1", {}, {"emotion7": CLASSES}, tuple(utterances), (), {"official": split})


def toy_vectors(manifest: Manifest, feature: str) -> dict[str, np.ndarray]:
    """Make the vectors of a feature: noise plus a constant in the label's dimension. Every fifth face is missing."""
    rng = np.random.default_rng(len(feature))
    vectors = {}
    for n, u in enumerate(manifest.utterances):
        x = rng.normal(size=WIDTHS[feature]).astype("f4")
        label = u.labels["emotion7"]
        if label is not None:
            x[CLASSES.index(label)] += 2
        if feature != "face" or n % 5:
            vectors[u.id] = x[None]
    return vectors


def write_feature(
    data: Path,
    manifest: Manifest,
    feature: str,
    vectors: dict[str, np.ndarray],
    *,
    kind: str = "vector",
    **provenance: Any,
) -> None:
    """Write the cache files of one feature, one each for train, dev and test."""
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {"pooled": vectors[i]} for i in ids if i in vectors}
        entries = [
            Entry(i, Status.OK, "", 1, "", content_digest(arrays[i]))
            if i in arrays
            else Entry(i, Status.MISSING, "no_face")
            for i in ids
        ]
        made = {
            "corpus": manifest.corpus,
            "part": part,
            "feature": feature,
            "encoder": f"toy/{feature}",
            "version": 1,
            "params": {},
            "weights": None,
            "context": {"past": 0, "future": 0},
            **provenance,
        }
        spec = ArraySpec("pooled", kind, ("utterance", "dim"), (WIDTHS[feature],))
        path = data / "caches" / manifest.corpus / MODALITY[feature] / f"{feature}.{part}.h5"
        write_cache(path, [spec], entries, arrays, made)


def write_toy(data: Path, dialogues: int = 8) -> Manifest:
    """Write the manifest and all caches of the toy corpus. Return the manifest."""
    manifest = toy_manifest(dialogues)
    write_manifest(manifest, data / "manifests" / "toy.jsonl")
    for feature in WIDTHS:
        write_feature(data, manifest, feature, toy_vectors(manifest, feature))
    return manifest


def toy_params(**experiment: Any) -> Params:
    """Make params with one experiment `exp` on the toy corpus and a short training run."""
    entry = {
        "model": "concat",
        "corpus": "toy",
        "features": FEATURES,
        "training": {"seeds": 2, "epochs": 6, "batch": 4, "lr": 0.01},
        **experiment,
    }
    return Params.model_validate({"experiments": {"exp": entry}})
