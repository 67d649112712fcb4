"""Training of extractors: separates classes, keeps to its data, survives kills, tells collapse from quality."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ercache.errors import UsageError, WeightsError
from ercache.trained_extractors import extractor_folder, load_extractor, provenance, training_ids
from ercache.training.loop import EpochReport
from ercache.weights import Weights
from extract.encoders.visual.m2fnet_images import network_of
from extract.pretrain import sources
from extract.pretrain.config import AUDIO, VISUAL, AudioConfig, ExtractorTraining, VisualConfig
from extract.pretrain.examples import Examples, examples_of_sounds
from extract.pretrain.quality import (
    EmbeddingSet,
    collapse,
    effective_rank,
    knn_accuracy,
    probe,
    quality,
    verification_auc,
)
from extract.pretrain.run import ImageJob, pretrain
from extract.pretrain.sources import ImageSource, source_of_folder
from extract.pretrain.training import KNN, Trained, embed_examples, train_extractor

CONFIG = VisualConfig(size="tiny", init="scratch", images=4)
TRAINING = ExtractorTraining(epochs=2, lr=1e-3)


def pictures(seed: int, each: int = 4) -> Examples:
    """Two classes of small noisy pictures: dark and bright on the left."""
    random = np.random.default_rng(seed)
    images = random.integers(90, 160, (2 * each, 32, 32, 3), dtype=np.uint8)
    images[each:, :, :16] += 90
    labels = torch.tensor([0] * each + [1] * each)
    return Examples(tuple(f"s{seed}_{n}" for n in range(2 * each)), labels, torch.from_numpy(images))


def train(checkpoint: Path | None = None, kill_at: int | None = None, **changes: Any) -> Trained:
    def tick(epoch: EpochReport) -> None:
        if epoch.number == kill_at:
            raise KeyboardInterrupt

    config = CONFIG.model_copy(update=changes)
    return train_extractor(pictures(0), pictures(1), config, TRAINING, checkpoint=checkpoint, tick=tick)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def test_a_killed_training_goes_on_to_the_same_losses_and_bits(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ercache.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("ercache.training.loop.CHECKPOINT_PAUSE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "state.pt", kill_at=1)
    resumed = train(tmp_path / "state.pt")
    assert resumed.progress.history == trained.progress.history
    for name, value in trained.progress.last.items():
        assert torch.equal(value, resumed.progress.last[name]), name


def test_the_best_epoch_is_the_one_with_the_best_validation_score(trained: Trained) -> None:
    scores = [row[KNN] for row in trained.progress.history]
    assert trained.score == KNN and trained.progress.best_epoch == 1 + int(np.argmax(scores))
    assert knn_accuracy(
        embed_examples(trained.extractor, pictures(0)), embed_examples(trained.extractor, pictures(1))
    ) == max(scores)


def test_other_dev_images_change_the_choice_of_the_epoch_alone(trained: Trained) -> None:
    poisoned = replace(pictures(1), images=torch.full_like(pictures(1).images, 255))
    otherwise = train_extractor(pictures(0), poisoned, CONFIG, TRAINING)
    losses = [[row["train_loss"] for row in t.progress.history] for t in (trained, otherwise)]
    assert losses[0] == losses[1]
    for name, value in trained.progress.last.items():
        assert torch.equal(value, otherwise.progress.last[name]), name


def test_cross_entropy_trains_the_same_network(trained: Trained) -> None:
    crossed = train(objective="cross_entropy")
    assert set(crossed.extractor.state_dict()) == set(trained.extractor.state_dict())
    assert crossed.progress.history[-1]["train_loss"] < crossed.progress.history[0]["train_loss"]


def source(name: str = "toy", dev: int = 1) -> ImageSource:
    ids = [*pictures(0).ids, *pictures(dev).ids]
    return ImageSource(pictures(0), pictures(dev), ("dark", "bright"), {name: ids}, f"{name}{dev}")


def test_the_folder_of_an_extractor_holds_its_record_and_the_ids_it_was_trained_on(tmp_path: Path) -> None:
    folder = extractor_folder(tmp_path, "dual")
    made = [
        pretrain(
            "dual",
            VISUAL,
            ImageJob(source(), CONFIG, TRAINING),
            out=folder,
            work=tmp_path / "work",
        )
        for _ in range(2)
    ][1]
    assert made["examples"] == {"train": 8, "dev": 8} and made["selected_on"] == KNN
    assert training_ids(tmp_path, "dual") == {"toy": [*pictures(0).ids, *pictures(1).ids]}
    assert set(provenance(tmp_path, "dual")["sha256"]) == {"model.safetensors", "seen.json", "extractor.json"}
    dual = Weights("made/dual", data=tmp_path)
    network, config = load_extractor(dual, VISUAL, network_of, {})
    assert config["size"] == "tiny" and not network.training
    assert not list((tmp_path / "work").glob("*/*")), "the state of a finished training is removed"
    assert (folder / "embedding.png").stat().st_size > 1000

    with pytest.raises(
        WeightsError, match="trained for the encoder visual/m2fnet-dual, not for audio/mel-resnet18"
    ):
        load_extractor(dual, AUDIO, network_of, {})
    with pytest.raises(WeightsError, match="absent"):
        load_extractor(Weights("made/other", data=tmp_path), VISUAL, network_of, {})
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="has changed since training"):
        load_extractor(dual, VISUAL, network_of, {})
    (folder / "seen.json").write_text("{}")
    with pytest.raises(WeightsError, match="unknown which utterances the extractor was trained on"):
        training_ids(tmp_path, "dual")


def test_random_weights_are_seeded_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (
        load_extractor(Weights("made/none", random=seed), VISUAL, network_of, {"size": "paper"})[0]
        for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.projector.weight, b.projector.weight)
    assert not torch.equal(a.projector.weight, c.projector.weight)


def separable(noise: float, seed: int = 0) -> EmbeddingSet:
    random = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    values = 3 * np.eye(8)[labels] + noise * random.standard_normal((60, 8))
    return EmbeddingSet(values.astype(np.float32), labels.astype(np.int64))


def test_quality_of_a_good_and_of_a_collapsed_embedding() -> None:
    good = quality(separable(0.1), separable(0.1, 1), 3)
    assert good["knn_accuracy"] == good["probe_uar"] == 1
    assert good["silhouette"] > 0.9 and good["dead"] == 0
    one = EmbeddingSet(np.ones((60, 8), np.float32), separable(0).labels)
    flat = collapse(one.values)
    assert flat == {"deviation": 0, "dead": 1, "rank": 0, "similarity": pytest.approx(1)}
    random = quality(
        separable(0.1), EmbeddingSet(separable(0.1).values[::-1].copy(), separable(0.1).labels), 3
    )
    assert random["knn_accuracy"] < 0.7
    assert (probe(separable(0.1), separable(0.1, 1).values) == separable(0).labels).all()


def test_the_effective_rank_counts_equal_directions() -> None:
    axes = np.eye(6, dtype=np.float32)[:3]
    values = np.concatenate([axes, -axes])
    assert effective_rank(values) == pytest.approx(3, abs=1e-5)
    assert effective_rank(values[:, :1]) == pytest.approx(1, abs=1e-5)


def test_verification_is_one_for_identities_apart_and_half_by_chance() -> None:
    assert verification_auc(separable(0.01)) == pytest.approx(1)
    random = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    chance = verification_auc(EmbeddingSet(random, np.arange(200) % 20))
    assert chance == pytest.approx(0.5, abs=0.05)


def test_folders_of_images_hold_out_identities_or_a_share_of_each_class(tmp_path: Path) -> None:
    from PIL import Image

    for person in range(6):
        for n in range(3):
            place = tmp_path / f"id{person}" / f"{n}.png"
            place.parent.mkdir(exist_ok=True)
            Image.new("RGB", (20, 30), (40 * person, 10 * n, 0)).save(place)
    found = source_of_folder(tmp_path, CONFIG, True, 0)
    people = [{i.split("/")[0] for i in part.ids} for part in (found.train, found.dev)]
    assert len(people[1]) == 2 and not people[0] & people[1]
    assert found.train.labels.unique().tolist() == [0, 1, 2, 3] and found.train.images.shape[1:] == (
        64,
        64,
        3,
    )
    classes = source_of_folder(tmp_path, CONFIG, False, 0)
    assert len(classes.dev) == 6 and not classes.identities
    assert not set(classes.train.ids) & set(classes.dev.ids)
    (tmp_path / "id0" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="1 file cannot be read"):
        source_of_folder(tmp_path, CONFIG, True, 0)
    with pytest.raises(UsageError, match="needs at least 4 labels"):
        source_of_folder(tmp_path / "id0", CONFIG, True, 0)


def test_mel_images_are_changed_anew_or_drawn_from_variants_made_ahead() -> None:
    sounds = [np.random.default_rng(n).standard_normal(4000).astype(np.float32) for n in range(3)]
    plain = examples_of_sounds(["a", "b", "c"], [0, 1, 0], sounds, 32)
    rows, order = torch.tensor([0, 2]), torch.Generator().manual_seed(0)
    assert torch.equal(plain.batch(rows, order, False), plain.images[rows])
    fresh = [plain.batch(rows, order, True) for _ in range(4)]
    assert any(not torch.equal(fresh[0], other) for other in fresh[1:])
    ahead = plain.with_variants(3, seed=0)
    assert ahead.variants is not None and ahead.variants.shape == (3, 3, 32, 32, 3)
    drawn = ahead.batch(rows, order, True)
    assert all(
        any(torch.equal(image, v) for v in ahead.variants[n]) for image, n in zip(drawn, [0, 2], strict=True)
    )
    assert torch.equal(ahead.rows([2]).variants, ahead.variants[2:])  # type: ignore[arg-type]


def test_the_presets_are_224_and_112_pixels_and_the_defaults_the_papers() -> None:
    assert AudioConfig().side == 224 and AudioConfig(size="small").side == 112
    assert AudioConfig().loss.weights == (20, 5, 1) and AudioConfig().images == 16
    assert ExtractorTraining().model_dump() == {
        "epochs": 60, "patience": 60, "lr": 1e-4, "weight_decay": 1e-6, "seed": 0
    }  # fmt: skip
    assert sources.DEV_IDENTITIES == 0.05
