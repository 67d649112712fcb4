"""Benchmark of speech extractors on EMO-DB: how well do their embeddings show the emotions of unseen speakers?

Metric learning and cross-entropy are compared with MFCC statistics. In each of three folds, two or three speakers are
held out for the test. One other speaker is the validation data, which choose epoch and learning rate. A linear probe,
fitted on all speakers that are not held out, is scored once on the test. Each trained extractor is a line of the log; a
killed run continues from the log.

    python -m bench.extractors ../shared/media/emodb --log docs/extractors.jsonl --page docs/extractors.md
"""

import argparse
import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.extractors_page import PICTURE, page
from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from extract.encoders.audio.mfcc import Mfcc, MfccParams
from extract.encoders.base import Sample
from extract.media import Span, read_spans
from extract.media.mel_image import RATE
from extract.media.types import FloatArray
from extract.pretrain.config import AudioConfig, ExtractorTraining, MetricLoss
from extract.pretrain.examples import Examples, examples_of_sounds
from extract.pretrain.picture import draw
from extract.pretrain.quality import EmbeddingSet, quality
from extract.pretrain.training import Trained, embed_examples, train_extractor

CLASSES: Final = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}
FOLDS: Final = {  # held out, validation; the speakers in order, dealt out
    "1": (("03", "08"), "09"),
    "2": (("09", "10"), "11"),
    "3": (("11", "12", "13"), "03"),
}
SEEDS: Final = (0, 1, 2)
METHODS: Final = ("similarity", "printed", "fixed", "cross_entropy")
TUNED: Final = ("similarity", "cross_entropy")  # the other readings take the rate of the first
RATES: Final = (3e-4, 1e-3)
VARIANTS: Final = 8
TUNING_SEED: Final = 10
MFCC_RATE: Final = 22_050


@dataclass(frozen=True)
class Corpus:
    """All recordings of EMO-DB.

    Attributes:
        examples: mel images of the recordings, with their sounds and labels.
        mfcc: MFCC statistics, one vector for each recording.
        speakers: speaker of each recording.
    """

    examples: Examples
    mfcc: FloatArray
    speakers: tuple[str, ...]

    def rows(self, speakers: Sequence[str]) -> list[int]:
        """Return the indices of all recordings by the given speakers, as row numbers of `examples` and `mfcc`."""
        return [n for n, speaker in enumerate(self.speakers) if speaker in speakers]

    def others(self, speakers: Sequence[str]) -> list[str]:
        """Return all speakers of the corpus who are not in the given list."""
        return [s for s in dict.fromkeys(self.speakers) if s not in speakers]


def read(root: Path, size: str) -> Corpus:
    """Read all EMO-DB recordings in the folder `root`, and compute their mel images.

    `size` is the size of the images: `paper`, `small` or `tiny`.
    """
    paths = sorted(path for path in root.glob("*.wav") if path.name[5] in CLASSES)
    rates = (RATE, MFCC_RATE)
    sounds = [read_spans(p, [Span(MediaRef(p.name), rates=rates)], Limits())[0].sounds for p in paths]
    labels = [list(CLASSES).index(path.name[5]) for path in paths]
    examples = examples_of_sounds(
        [path.stem for path in paths],
        labels,
        [sound[RATE] for sound in sounds],
        AudioConfig(size=size).side,  # type: ignore[arg-type]
    )
    encoder = Mfcc(MfccParams())
    mfcc = [encoder.encode([Sample(sound=sound[MFCC_RATE])])[0] for sound in sounds]
    return Corpus(
        examples.with_variants(VARIANTS, seed=0),
        np.concatenate([result.arrays["pooled"] for result in mfcc]),  # type: ignore[union-attr]
        tuple(path.name[:2] for path in paths),
    )


def config_of(method: str, size: str) -> AudioConfig:
    """Return the training config of one method: `cross_entropy`, or a margin of the metric learning loss.

    The methods differ only in the loss. `size` is the size of the mel images: `paper`, `small` or `tiny`.
    """
    common: dict[str, Any] = {"size": size, "init": "scratch", "images": 8, "passes": 2, "variants": VARIANTS}
    if method == "cross_entropy":
        return AudioConfig(**common, objective="cross_entropy")
    return AudioConfig(**common, loss=MetricLoss(margin=method))  # type: ignore[arg-type]


def embedded(
    corpus: Corpus, fold: str, method: str, rate: float, seed: int, size: str, epochs: int
) -> tuple[Trained, EmbeddingSet]:
    """Train one extractor on the training speakers of a fold.

    Args:
        corpus: all recordings.
        fold: number of the fold, a key of `FOLDS`.
        method: the loss, see `config_of`.
        rate: learning rate.
        seed: seed of the training.
        size: size of the mel images.
        epochs: number of epochs.

    Returns:
        Two values: the trained extractor, and the embeddings that it gives for all recordings of the corpus.
    """
    held_out, validation = FOLDS[fold]
    rest = corpus.others((*held_out, validation))
    train, dev = (corpus.examples.rows(corpus.rows(s)) for s in (rest, [validation]))
    result = train_extractor(
        train, dev, config_of(method, size), ExtractorTraining(epochs=epochs, lr=rate, seed=seed)
    )
    return result, embed_examples(result.extractor, corpus.examples)


def trained(
    corpus: Corpus, fold: str, method: str, rate: float, seed: int, size: str, epochs: int, outer: bool
) -> dict[str, Any]:
    """Train one extractor on a fold, and score a linear probe on its embeddings.

    If `outer`, the probe is tested on the held-out speakers; otherwise on the validation speaker, to choose the
    learning rate.

    Returns:
        A line for the log: settings, scores and seconds.
    """
    began = time.perf_counter()
    result, embeddings = embedded(corpus, fold, method, rate, seed, size, epochs)
    held_out, validation = FOLDS[fold]
    rest = corpus.others((*held_out, validation))
    fitted = corpus.rows([*rest, validation] if outer else rest)
    scored = corpus.rows(held_out if outer else [validation])
    found = quality(
        *(EmbeddingSet(embeddings.values[rows], embeddings.labels[rows]) for rows in (fitted, scored)),
        len(CLASSES),
    )
    return {
        "kind": "outer" if outer else "tuning",
        "fold": fold,
        "method": method,
        "rate": rate,
        "seed": seed,
        "size": size,
        "epochs": epochs,
        "best_epoch": result.progress.best_epoch,
        "losses": [round(row["train_loss"], 4) for row in result.progress.history],
        "validation": [round(row[result.score], 4) for row in result.progress.history],
        **{name: round(value, 5) for name, value in found.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }


def draw_held_out(
    corpus: Corpus, rows: Sequence[Mapping[str, Any]], size: str, epochs: int, folder: Path
) -> None:
    """Draw the embeddings of the first fold's held-out speakers: one picture for each method, with the first seed."""
    fold = next(iter(FOLDS))
    chosen = corpus.rows(FOLDS[fold][0])
    for method in METHODS:
        rate = best_rate(rows, fold, method, size, epochs)
        _, embeddings = embedded(corpus, fold, method, rate, SEEDS[0], size, epochs)
        held_out = EmbeddingSet(embeddings.values[chosen], embeddings.labels[chosen])
        print(
            method,
            draw(held_out, list(CLASSES.values()), folder / f"{PICTURE}{size}-{method}.png"),
            flush=True,
        )


def baseline(corpus: Corpus, fold: str) -> dict[str, Any]:
    """Score the baseline (logistic regression on MFCC statistics) on a fold's held-out speakers; return a log line."""
    held_out, _ = FOLDS[fold]
    labels = corpus.examples.labels.numpy()
    rows = corpus.rows(corpus.others(held_out)), corpus.rows(held_out)
    found = quality(*(EmbeddingSet(corpus.mfcc[r], labels[r]) for r in rows), len(CLASSES))
    return {"kind": "outer", "fold": fold, "method": "mfcc", "seed": 0, **found}


def best_rate(rows: Sequence[Mapping[str, Any]], fold: str, method: str, size: str, epochs: int) -> float:
    """Return the learning rate that scored best on a fold's validation speaker, according to the log.

    The score is the unweighted average recall (UAR) of a linear probe. In a tie, the smaller rate wins. Only
    `similarity` and `cross_entropy` are tuned; other methods take the rate of `similarity`.
    """
    asked = (fold, method if method in TUNED else TUNED[0], size, epochs)
    tried = {
        r["rate"]: r["probe_uar"]
        for r in rows
        if r["kind"] == "tuning" and (r["fold"], r["method"], r["size"], r["epochs"]) == asked
    }
    return max(sorted(tried), key=lambda rate: tried[rate])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "root", type=Path, nargs="?", help="folder of the corpus; without it only the page is written"
    )
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument(
        "--pictures", type=Path, help="only draw embeddings into this folder, with the logged rates"
    )
    parser.add_argument("--size", default="tiny", choices=["paper", "small", "tiny"])
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    if asked.root is None:
        write_page(asked.log, asked.page)
        return
    rows = [json.loads(line) for line in asked.log.read_text().splitlines()] if asked.log.is_file() else []
    corpus = functools.cache(lambda: read(asked.root, asked.size))
    if asked.pictures is not None:
        draw_held_out(corpus(), rows, asked.size, asked.epochs, asked.pictures)
        return
    key = ("kind", "fold", "method", "rate", "seed", "size", "epochs")

    def once(row: Mapping[str, Any], work: Any) -> None:
        if not any(all(r.get(k) == v for k, v in row.items()) for r in rows):
            rows.append(work())
            with asked.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            print({k: rows[-1].get(k) for k in (*key, "probe_uar", "knn_accuracy", "seconds")}, flush=True)

    def run(kind: str, fold: str, method: str, rate: float, seed: int) -> None:
        values = (kind, fold, method, rate, seed, asked.size, asked.epochs)
        once(
            dict(zip(key, values, strict=True)),
            lambda: trained(corpus(), *values[1:], outer=kind == "outer"),  # type: ignore[arg-type]
        )

    for fold in FOLDS:
        once({"kind": "outer", "fold": fold, "method": "mfcc"}, lambda f=fold: baseline(corpus(), f))
        for method in TUNED:
            for rate in RATES:
                run("tuning", fold, method, rate, TUNING_SEED)
    for seed in SEEDS:
        for fold in FOLDS:
            for method in METHODS:
                rate = best_rate(rows, fold, method, asked.size, asked.epochs)
                run("outer", fold, method, rate, seed)
    if asked.page:
        write_page(asked.log, asked.page)


def write_page(log: Path, target: Path) -> None:
    """Write the page docs/extractors.md from the log of this benchmark and that of the demo corpus, if they exist."""
    demo = log.with_name("extractors-demo.jsonl")
    rows, others = (
        [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        for path in (log, demo)
    )
    pictures = sorted(path.name for path in target.parent.glob(f"{PICTURE}*.png"))
    target.write_text(page(rows, others, pictures), encoding="utf-8")


if __name__ == "__main__":
    main()
