"""Benchmark of encoding sentences in batches sorted by length, compared with one sentence at a time."""

import time
from collections.abc import Sequence

import numpy as np

from extract.encoders import ENCODERS
from extract.encoders.base import Encoder, Sample
from extract.engine.environment import autocast
from extract.media.types import FloatArray

WORDS = (
    "the",
    "of",
    "coat",
    "I",
    "forgot",
    "is",
    "rain",
    "you",
    "that",
    "again",
    "was",
    "for",
    "window",
    "are",
)


def measure(sentences: int = 256, batch: int = 16) -> dict[str, float]:
    """Measure how many sentences per second `text/minilm` encodes in batches, on one thread.

    Args:
        sentences: number of sentences.
        batch: number of sentences in a batch.

    Returns:
        Three figures: sentences per second; the speed divided by the speed of one sentence at a time; the largest
        relative difference between bfloat16 and float32 vectors.
    """
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 20))) for _ in range(sentences)]
    kind = ENCODERS["text/minilm"]
    encoder = kind(kind.Params())
    encoder.encode([Sample(text=texts[0])])
    began = time.perf_counter()
    for text in texts:
        encoder.encode([Sample(text=text)])
    single = time.perf_counter() - began
    began = time.perf_counter()
    ordered = sorted(texts, key=len)
    for start in range(0, sentences, batch):
        encoder.encode([Sample(text=t) for t in ordered[start : start + batch]])
    batched = time.perf_counter() - began
    exact, halved = (_vectors(encoder, texts[:batch], precision) for precision in ("float32", "bfloat16"))
    return {
        "sentences_per_second": round(sentences / batched, 1),
        "speedup_over_one_by_one": round(single / batched, 2),
        "difference_of_bfloat16": round(float(np.abs(exact - halved).max() / max(1, np.abs(exact).max())), 5),
    }


def _vectors(encoder: Encoder, texts: Sequence[str], precision: str) -> FloatArray:
    """Encode texts as vectors, [number of texts, vector size], in the number format `float32` or `bfloat16`."""
    with autocast("cpu", precision):
        results = encoder.encode([Sample(text=t) for t in texts])
    return np.concatenate([result.arrays["pooled"] for result in results])
