"""Benchmark of reading a cache file, compared with reading its raw bytes and with one pickle for each utterance."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ercache.cache import ArraySpec, CacheFile, Entry, Status, content_digest
from ercache.cache_writer import write_cache

ROUNDS = 5


def measure(folder: Path, utterances: int = 16_300, tokens: int = 40, dims: int = 384) -> dict[str, float]:
    """Measure how long reading takes (best of five): a cache file, its raw bytes, and one pickle per utterance.

    By default, the cache file has about 1 GB.

    Args:
        folder: scratch folder for the files.
        utterances: number of utterances in the cache.
        tokens: number of tokens of each utterance.
        dims: number of values of a token.

    Returns:
        Three figures: the size of the cache file in megabytes; the time of reading the cache divided by the time of
        reading its raw bytes; the time of reading the pickles divided by the time of reading the cache.
    """
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": {"tokens": rng.normal(size=(tokens, dims)).astype("f4")} for i in range(utterances)}
    entries = [Entry(u, Status.OK, "", tokens, "k", content_digest(a)) for u, a in arrays.items()]
    spec = ArraySpec("tokens", "sequence", ("token", "dim"), (dims,))
    path = folder / "tokens.train.h5"
    write_cache(path, [spec], entries, arrays, {"corpus": "bench", "part": "train", "feature": "tokens"})
    pickles = folder / "pickles"
    pickles.mkdir()
    for u, a in arrays.items():
        (pickles / u).write_bytes(pickle.dumps(a))

    def cache() -> None:
        with CacheFile(path) as opened:
            opened.read("tokens")

    def bare() -> None:
        np.fromfile(path, dtype=np.uint8)

    def peers() -> None:
        np.concatenate([pickle.loads((pickles / u).read_bytes())["tokens"] for u in arrays])

    ours = _best(cache)
    return {
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "time_over_bare_read": round(ours / _best(bare), 2),
        "speedup_over_pickle_per_utterance": round(_best(peers) / ours, 2),
    }


def _best(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
