"""A film as one dialogue: models that would need gigabytes refuse it before training, and the remedy works."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ercache.errors import UsageError
from ercache.manifest import Manifest, Utterance, write_manifest
from fusion.data.batches import MAX_PAIRS, Batch, PaddedBatches
from fusion.experiment.lengths import MEMORY
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import read_source
from fusion.models import MODELS
from tests.support.toy_corpus import CLASSES, FEATURES, toy_params, write_feature

WIDTHS = {"text": 32, "audio": 16, "visual": 24}
RELATING = {
    "transformer": ("small", "large"),
    "m2fnet": ("small", "paper"),
    "mmgcn": ("small", "large"),
    "dialogue_rnn": ("small", "meld"),
    "avafn": ("small",),
}


def film(data: Path, utterances: int) -> None:
    """A corpus with one long dialogue in train and short ones in dev and test."""
    rows = [
        Utterance(
            f"{part}{n}",
            f"{part}_film",
            n,
            "AB"[n % 2],
            "text",
            None,
            None,
            {"emotion7": CLASSES[n % 3]},
            part,
        )
        for part, count in {"train": utterances, "dev": 9, "test": 9}.items()
        for n in range(count)
    ]
    split = {part: tuple(u.id for u in rows if u.part == part) for part in ("train", "dev", "test")}
    manifest = Manifest("toy", "1", {}, {"emotion7": CLASSES}, tuple(rows), (), {"official": split})
    write_manifest(manifest, data / "manifests" / "toy.jsonl")
    for feature, width in {"words": 6, "sound": 5, "face": 4}.items():
        write_feature(data, manifest, feature, {u.id: np.ones((1, width), "f4") for u in rows})


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("film")
    film(data, 3000)
    return data


@pytest.mark.parametrize("model", ["mmgcn", "m2fnet", "dialogue_rnn"])
def test_a_film_as_one_dialogue_is_refused_with_the_remedy(long: Path, model: str) -> None:
    entry = toy_params(model=model, features=FEATURES).experiments["exp"]
    with pytest.raises(UsageError) as caught:
        read_source(long, entry)
    told = str(caught.value)
    assert "'train_film' has 3,000 utterances" in told and "history: N" in told and "bc_lstm" in told


def test_a_film_is_accepted_with_a_history_or_by_a_recurrent_model(long: Path) -> None:
    for change in ({"model": "mmgcn", "history": 8}, {"model": "bc_lstm"}, {"model": "concat"}):
        experiment = experiment_of("exp", toy_params(**change))
        source = read_source(long, experiment.entry)
        batches = PaddedBatches(source.subset("train"), source.window)
        model = experiment.model.build({"text": 6, "audio": 5, "visual": 4}, 3, experiment.config)
        _, _, first = next(iter(batches.by_length()))
        assert model(first).shape[-1] == 3
        assert first.mask.shape[1] == (8 if "history" in change else 3000) or first.mask.shape[1] < 8


def test_batches_hold_no_more_pairs_of_utterances_than_one_long_dialogue(tmp_path: Path) -> None:
    film(tmp_path, 1)
    subset = read_source(tmp_path, toy_params(model="concat").experiments["exp"]).subset("train")
    padded = PaddedBatches(subset)
    for length, rooms in {33: 32, 110: 32, 512: 8, 1200: 1}.items():
        padded._lengths, padded._numbers = [length] * 64, [0] * 64
        sizes = {len(batch) for batch in padded._cut(range(64), 32)}
        assert max(sizes) == rooms and rooms * length**2 <= max(MAX_PAIRS, length**2)


def held(key: str, preset: str, length: int) -> int:
    """Bytes that a training keeps for its gradients on a dialogue."""
    entry = MODELS[key]
    widths = {m: WIDTHS[m] for m in entry.modalities}
    torch.manual_seed(0)
    model = entry.build(widths, 7, entry.resolve(preset, {})).train()
    mask = torch.ones(1, length, dtype=torch.bool)
    batch = Batch(
        {m: torch.randn(1, length, w) for m, w in widths.items()},
        {m: mask.clone() for m in widths},
        mask,
        torch.randint(0, 3, (1, length)),
        torch.zeros(1, length, dtype=torch.int64),
    )
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(batch)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(("key", "preset"), [(k, p) for k, presets in RELATING.items() for p in presets])
def test_pair_bytes_are_the_measured_memory_of_a_pair(key: str, preset: str) -> None:
    entry, n = MODELS[key], 96
    # Of a + b L + c L^2 at L = n, 2 n and 3 n, c alone is left.
    measured = (held(key, preset, 3 * n) - 2 * held(key, preset, 2 * n) + held(key, preset, n)) / (2 * n**2)
    assert entry.pair_bytes is not None
    told = entry.pair_bytes(entry.resolve(preset, {}), len(entry.modalities))
    assert 0.3 * told <= measured <= 1.2 * told, f"{measured:.0f} B measured, {told:.0f} told"


def test_memory_of_models_without_pair_bytes_grows_with_the_length_only() -> None:
    for key in ("concat", "bc_lstm", "logistic"):
        assert MODELS[key].pair_bytes is None
        n = 96
        grown = held(key, "small", 3 * n) - 2 * held(key, "small", 2 * n) + held(key, "small", n)
        assert abs(grown) / (2 * n**2) < 2, key


def test_dialogues_of_the_corpora_are_far_from_the_limit() -> None:
    for key, presets in RELATING.items():
        entry = MODELS[key]
        assert entry.pair_bytes is not None
        for preset in presets:
            most = math.isqrt(int(MEMORY / entry.pair_bytes(entry.resolve(preset, {}), 3)))
            assert most > 600, (key, preset)  # IEMOCAP's longest has 110
