"""Benchmark of trained feature extractors on the demo corpus, compared with features that need no training.

For each feature, a linear probe is fitted on train, and its weighted F1 is measured on test. Run this in a folder with
params.yaml and the demo corpus. It calls `ercache pretrain` to train extractors and `ercache extract` for the features.

    python -m bench.demo_extractors --seeds 3 --log docs/extractors-demo.jsonl
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.manifest import read_manifest
from ercache.metrics import scores
from extract.pretrain.quality import EmbeddingSet, knn_accuracy, probe
from fusion.data.cache_reader import read_modalities

PAIRS: Final = (("audio", "mel_resnet18", "prosody"), ("visual", "m2fnet_dual", "face_hog"))


def command(*arguments: str) -> None:
    """Run `ercache` with these command-line arguments; what it prints goes to stderr."""
    subprocess.run(["ercache", *arguments], check=True, stdout=sys.stderr)


def scored(modality: str, feature: str) -> dict[str, float]:
    """Fit a linear classifier (probe) on one cached feature of the demo corpus, and test it.

    It is fitted on the training utterances. Utterances without the feature are left out.

    Returns:
        Metric -> score on the test utterances, and their number as `test`.
    """
    data = Path("data")
    manifest = read_manifest(data / "manifests" / "demo.jsonl")
    classes = list(manifest.label_sets["emotion7"])
    parts = {}
    for part in ("train", "test"):
        read, findings = read_modalities(data / "caches", manifest, {modality: [feature]}, [part])
        if findings.problems:
            raise SystemExit("\n".join(findings.problems))
        labels = [u.labels["emotion7"] for u in manifest.of_part(part)]
        good = [n for n, label in enumerate(labels) if label and read[modality].present[n]]
        ranks = np.array([classes.index(str(labels[n])) for n in good], np.int64)
        parts[part] = EmbeddingSet(read[modality].values[good], ranks)
    found = scores(parts["test"].labels, probe(parts["train"], parts["test"].values), len(classes))
    return {
        **found,
        "knn_accuracy": knn_accuracy(parts["train"], parts["test"]),
        "test": len(parts["test"].labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--modality", choices=["audio", "visual"])
    asked = parser.parse_args()
    for modality, made, plain in PAIRS:
        if asked.modality not in (None, modality):
            continue
        command("extract", "demo", "--features", plain)
        note(asked.log, {"feature": plain, "modality": modality, "seed": None, **scored(modality, plain)})
        for seed in range(asked.seeds):
            began = time.perf_counter()
            command("pretrain", made, "--seed", str(seed))
            trained = time.perf_counter()
            command("extract", "demo", "--features", made)
            seconds_of = {
                "training_seconds": trained - began,
                "extraction_seconds": time.perf_counter() - trained,
            }
            row = {"feature": made, "modality": modality, "seed": seed, **scored(modality, made)}
            note(asked.log, row | {name: round(seconds, 1) for name, seconds in seconds_of.items()})


def note(log: Path, row: dict[str, Any]) -> None:
    """Append one result, such as a feature's scores, as a JSON line to the log, and print it."""
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    print(row, flush=True)


if __name__ == "__main__":
    main()
